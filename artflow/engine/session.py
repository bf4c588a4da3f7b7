"""A live session in the engine: what waits, what is in flight, and what the next frame is made with."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from artflow.engine.frame import Flow, Frame, Listener, Outcome
from artflow.engine.params import LiveParams
from artflow.engine.planner import Planner
from artflow.engine.quality import QualityController
from artflow.engine.request import Request, Status
from artflow.engine.runner import Runner
from artflow.engine.stream_step import InpaintConditioning, StreamPlan, StreamState
from artflow.errors import HIDDEN, ArtflowError
from artflow.images import Picture, Size

if TYPE_CHECKING:
    from artflow.engine.second_pass import SecondPass
    from artflow.engine.stream import LiveStream

log = logging.getLogger(__name__)

PUSHED_AFTER = 0.25  # seconds after which frames of a pipelined stream go on though no other pushes them


@dataclass(eq=False)
class LiveRequest(Request[StreamPlan, StreamState]):
    """A live picture on its way, and what it is told of in the end. The frame is taken when the request begins."""

    frame: Frame | None = None
    recipe: dict[str, Any] | None = None


class LiveSession:
    """A stream of frames.

    ``put``, ``use``, ``skipped`` and ``close`` (see `Session`) may be called from any thread; all else belongs to the
    engine's thread. The listener hears once of every frame whose fate is decided before ``close``, from the thread that
    decides it.
    """

    kind: ClassVar[Literal["live"]] = "live"

    def __init__(self, runner: Runner, params: LiveParams, flow: Flow, listener: Listener, id: str = "") -> None:
        self.id = id  # for the log
        self.runner = runner
        self.flow = flow
        self.last_served = 0.0
        self.in_call = False
        self.closed = False
        self.wake: Callable[[], None] = lambda: None
        self._listener: Listener = listener
        self._params = params
        self._lock = threading.Lock()  # the inbox; held for moments only, because the engine waits for it
        self._inbox: deque[Frame] = deque()
        self._requests: list[LiveRequest] = []  # in flight, newest first
        self._quality = QualityController()
        self._planner = Planner(runner, flow.mode)
        self._paced = float("-inf")  # when the last frame should have begun under max_fps
        self._waiting_since = self._begun = self._ended = 0.0  # of the frame that waits; of the last step
        self._waited = 0.0  # seconds that the last one was kept waiting, though it could begin
        self._came_in = 0.0  # when the frame that waits was put in
        self._supplied = 0.0  # end of the last step that a frame entered with, or the last skip
        self._before = self._after = 0.0  # seconds the last frame took from arrival to `put`, and after `deliver`

    @classmethod
    def of(cls, stream: LiveStream | SecondPass, runner: Runner) -> LiveSession:
        """The session of a stream of this process, or of its second pass, which is given it."""
        session = cls(runner, stream.sized, stream.policy.flow, stream, stream.id)
        stream.serve(session)
        return session

    # -- any thread ---------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Frames that have come and are not begun."""
        return len(self._inbox)

    def put(self, frame: Frame) -> None:
        """See `Session`. Where the latest wins, it replaces what waits."""
        dropped: list[Frame] = []
        with self._lock:
            if self.closed:
                return
            self._came_in = time.monotonic()
            if not self._inbox:
                self._waiting_since = self._came_in
            elif frame.repeat and frame.region is None and not (frame.controls or self._inbox[-1].controls):
                dropped, frame = [frame], self._inbox.pop()  # what waits shows the settings anyway
            elif frame.repeat:  # settings may size and cut a hole, or steer: what waits is looked at again
                dropped = [self._inbox.pop()]
                frame = replace(frame, received=dropped[0].received)
            elif self.flow.latest_only:
                dropped = list(self._inbox)
                self._inbox.clear()
            self._inbox.append(frame)
        for old in dropped:
            self._drop(old)
        self.wake()

    def use(self, params: LiveParams) -> None:
        """See `Session`."""
        self._params = params
        self.wake()

    def skipped(self) -> None:
        """See `Session`."""
        self._supplied = time.monotonic()

    def close(self) -> None:
        """See `Session`."""
        with self._lock:
            self.closed = True
            self._inbox.clear()
        self.wake()

    # -- the engine's threads --------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether nothing more will come from it."""
        return self.closed

    @property
    def due(self) -> float:
        """When there is something to do next (monotonic seconds); infinity where only a new frame brings it.

        A frame that waits may begin when ``max_fps`` says so. What nobody pushes out of a pipelined stream goes on
        alone after `PUSHED_AFTER`.
        """
        if self._inbox:
            return self._frame_due
        if not self._requests:
            return float("inf")
        return self._supplied + PUSHED_AFTER if self.flow.pipelined else float("-inf")

    @property
    def _frame_due(self) -> float:
        """When a frame may begin under ``max_fps``."""
        fps = self._params.max_fps
        return self._paced + 1 / fps if fps > 0 else float("-inf")

    def next(self, now: float) -> list[Request]:
        """See `Owner`. All of them go into the same call: those in flight, newest first, behind the one that enters."""
        if self._requests and not self.flow.pipelined:
            return list(self._requests)
        if now < self.due or (plan := self._prepare(now)) is None:
            return []
        return [*([LiveRequest(self, -1, self.runner, plan)] if self._inbox else []), *self._requests]

    def enter(self, request: Request, now: float) -> list[Picture] | None:
        """Take the frame that has waited longest into the request."""
        assert isinstance(request, LiveRequest)
        due = self._frame_due
        with self._lock:
            if not self._inbox:
                return None
            frame = request.frame = self._inbox.popleft()
            since, came_in = self._waiting_since, self._came_in
        waited, idle = now - since, since - max(self._ended, due)
        if self.flow.latest_only:
            # A camera always has a frame waiting: time before the session's own last step ended is no load of others.
            since, self._before = max(since, self._ended), came_in - frame.received
        else:
            since = frame.received
        self._begun, self._waited = now, max(now - max(since, due), 0.0)
        fps = self._params.max_fps
        # A frame that comes a little late must not slow the stream down, so up to one interval is made up for.
        self._paced = max(self._paced + 1 / fps, now - 1 / fps) if fps > 0 else now
        self._after = frame.after
        if frame.controls and not self.runner.controls.here(control.unit.kind for control in frame.controls):
            frame = request.frame = replace(frame, controls=())  # being loaded, see `_prepare`
        request.number, request.recipe = frame.number, self._planner.recipe
        if frame.controls:
            request.recipe = request.recipe | {"control": [c.unit.model_dump() for c in frame.controls]}
        self._listener.begun(frame.number, now, waited, idle)
        return frame.pictures(request.plan.size)

    @staticmethod
    def begin(requests: Sequence[Request], latents: Sequence[torch.Tensor]) -> None:
        """See `Owner`: those of all sessions at once, as one arithmetic."""
        plans, inpaints = [], []
        for request, those in zip(requests, latents, strict=True):
            assert isinstance(request, LiveRequest) and request.frame is not None
            plans.append(request.plan)
            inpaints.append(_inpaint(request.runner, request.frame, those, request.plan.size))
        sources = [those[0] if len(those) else None for those in latents]
        for request, state in zip(requests, StreamState.start(plans, sources, inpaints), strict=True):
            request.state = state
            assert isinstance(request, LiveRequest) and request.frame is not None
            maps = request.frame.maps(request.plan.size)
            state.controls = request.runner.controls.at_steps(maps, len(request.plan.schedule))
            if not state.inputs:
                state.inputs = request.runner.nothing_kept(request.plan.size)

    def stepped(self, requests: Sequence[Request]) -> list[tuple[Request, torch.Tensor]]:
        """See `Owner`. The oldest picture comes first."""
        self._ended = time.monotonic()
        if any(request.step == 1 for request in requests):
            self._supplied = self._ended
        mine = [(r, r.state) for r in requests if isinstance(r, LiveRequest) and r.state is not None]
        self._requests = [] if self.closed else [request for request, state in mine if state.finished is None]
        return [(request, state.finished) for request, state in reversed(mine) if state.finished is not None]

    def deliver(self, request: Request, picture: Picture, flagged: bool) -> None:
        """Hand a finished picture to its person, or say that it is not shown."""
        assert isinstance(request, LiveRequest) and request.frame is not None
        if self.closed:
            return
        self._ended = now = time.monotonic()
        if self._params.priority == "latency":
            # What each step of a stream costs, once for every step that it takes: that frames come slowly is no load.
            steps = request.step if self.flow.pipelined else 1
            self._quality.observe(self._before + steps * (self._waited + now - self._begun) + self._after)
        if flagged:
            self._tell(Outcome(request.number, error=ArtflowError("hidden", HIDDEN)))
        else:
            self._tell(Outcome(request.number, picture, request.recipe))

    def fail(self, requests: Sequence[Request], error: ArtflowError) -> None:
        """Give up these frames and all that are in flight; the session goes on with the next frame."""
        lost = {id(r): r for r in (*requests, *self._requests) if isinstance(r, LiveRequest)}
        self._requests = []
        for request in lost.values():
            if request.status is Status.FAILED:
                continue
            request.status = Status.FAILED
            if request.frame is None:
                self.refuse(error)
            else:
                self._tell(Outcome(request.number, error=error))

    def refuse(self, error: ArtflowError) -> None:
        """Give up the frame that waits as well as those in flight."""
        with self._lock:
            frame = self._inbox.popleft() if self._inbox else None
        self.fail([], error)
        if frame is not None:
            self._tell(Outcome(frame.number, error=error))

    def end(self, error: ArtflowError) -> None:
        """Fail everything that waits or is in flight: nobody will serve it any more."""
        self.fail([], error)
        while self._inbox:
            self.refuse(error)

    def _prepare(self, now: float) -> StreamPlan | None:
        """The plan for the next step, replaced where settings, stage or a crossfade changed it; None while prompts are
        being encoded."""
        params = self._params
        with self._lock:
            kinds = [control.unit.kind for control in self._inbox[0].controls] if self._inbox else []
        # A camera goes on without control until its network is there; a drawing waits, as nothing comes after it.
        if not self.runner.controls.ready(kinds, self.wake) and not self.flow.pipelined:
            return None
        if params.priority == "quality":
            self._quality.reset()
        before = self._planner.plan
        plan = self._planner.prepare(params, self._quality.stage, self._wanted_size(params), now, self.wake)
        if plan is not None and (before is None or plan.noise.shape != before.noise.shape):
            # Pictures of another number of steps or size would overtake each other or not fit one call: let them go.
            for request in self._requests:
                assert request.frame is not None
                self._drop(request.frame)
            self._requests = []
        return plan

    # -- inside -----------------------------------------------------------------------------------------------------

    def _wanted_size(self, params: LiveParams) -> Size:
        """The size of the frame that waits where that has a hole, which sizes it by its picture; else what is asked."""
        with self._lock:
            frame = self._inbox[0] if self._inbox else None
        if frame is None or frame.picture is None or frame.region is None:
            return Size(params.width, params.height)
        return Size(frame.picture.shape[1], frame.picture.shape[0])

    def _drop(self, frame: Frame) -> None:
        self._tell(Outcome(frame.number, dropped=True))

    def _tell(self, outcome: Outcome) -> None:
        if self.closed:
            return
        try:
            self._listener.finished(outcome)
        except Exception:
            log.exception("a result could not be handed over", extra={"session": self.id})


def _inpaint(runner: Runner, frame: Frame, latents: torch.Tensor, size: Size) -> InpaintConditioning | None:
    """What stays of a frame with a region; ``latents`` are those of its pictures."""
    if frame.region is None or not len(latents):
        return None
    return InpaintConditioning(latents[0], runner.latent_mask(frame.region.mask, size), *latents[1:])
