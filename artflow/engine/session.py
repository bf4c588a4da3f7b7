"""One person's live state: what came in and waits, what is in flight, and what the next frame is made with."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from artflow.engine.frame import Frame
from artflow.engine.params import MAX_STEPS, LiveParams, random_seed
from artflow.engine.planner import Planner
from artflow.engine.quality import QualityController
from artflow.engine.request import Request, Status
from artflow.engine.runner import Runner
from artflow.engine.session_metrics import SessionMetrics
from artflow.engine.similarity import SimilarityFilter
from artflow.engine.stream_policy import OnBegun, Result, StreamPolicy, ignore_begun
from artflow.engine.stream_step import InpaintConditioning, StreamPlan, StreamState
from artflow.errors import HIDDEN, ArtflowError
from artflow.images import Picture, Size, check_size

log = logging.getLogger(__name__)

PUSHED_AFTER = 0.25  # seconds after which frames of a pipelined stream go on though no other pushes them


@dataclass(eq=False)
class LiveRequest(Request[StreamPlan, StreamState]):
    """A live picture on its way, and what it is told of in the end. The frame is taken when the request begins."""

    frame: Frame | None = None
    recipe: dict[str, Any] | None = None


class LiveSession:
    """A person's stream of frames.

    ``submit``, ``repeat``, ``update`` and ``close`` may be called from any thread; all else belongs to the engine's
    thread. ``on_result`` is called once for every frame whose fate is decided before ``close``, from the thread that
    decides it, ``on_begun`` for every frame that is begun where the latest wins. They must not block.
    """

    kind: ClassVar[Literal["live"]] = "live"

    def __init__(
        self,
        runner: Runner,
        params: LiveParams,
        policy: StreamPolicy,
        on_result: Callable[[Result], None],
        on_begun: OnBegun = ignore_begun,
        *,
        max_size: int = 1024,
    ) -> None:
        self.id = secrets.token_hex(4)  # for the log
        self.runner = runner
        self.policy = policy
        self.metrics = SessionMetrics()
        self.last_served = 0.0
        self.in_call = False
        self.closed = False
        self.wake: Callable[[], None] = lambda: None
        self._on_result, self._on_begun = on_result, on_begun
        self._max_size = max_size
        self._entry = threading.Lock()  # one submitter at a time; held while pictures are resized and compared
        self._lock = threading.Lock()  # the inbox; held for moments only, because the engine waits for it
        self._inbox: deque[Frame] = deque()
        self._last_picture: NDArray[np.uint8] | None = None
        self._next_number = 0
        self._requests: list[LiveRequest] = []  # in flight, newest first
        self._quality = QualityController()
        self._planner = Planner(runner, policy.mode)
        self._emptied = False  # what was in flight was let go, so the filter's last picture was never shown
        self._paced = float("-inf")  # when the last frame should have begun under max_fps
        self._waiting_since = self._begun = self._ended = 0.0  # of the frame that waits; of the last step
        self._waited = 0.0  # seconds that the last one was kept waiting, though it could begin
        self._came_in = 0.0  # when the frame that waits was put in
        self._supplied = 0.0  # end of the last step that a frame entered with, or the last skip
        self._before = self._after = 0.0  # seconds the last frame took from arrival to `submit`, and after `deliver`
        self._params = self._checked(params)
        self._filter = self._new_filter()

    # -- any thread ---------------------------------------------------------------------------------------------

    @property
    def params(self) -> LiveParams:
        """What the next frame will be made with."""
        return self._params

    @property
    def stage(self) -> str:
        """What the session gives up under load just now; ``full``: nothing."""
        return self._planner.stage

    @property
    def waiting(self) -> int:
        """Frames that have come and are not begun."""
        return len(self._inbox)

    @property
    def depth(self) -> int:
        """Frames that must come in before the first of them is shown: the steps of a pipelined stream, else one."""
        return self._depth(self._params)

    @property
    def greatest_depth(self) -> int:
        """What `depth` can become by other settings."""
        return MAX_STEPS if self.policy.pipelined else 1

    def update(self, params: LiveParams) -> None:
        """Use these settings from the next frame on.

        Raises:
            ArtflowError: if the size or the step indices are not possible; the old settings stay.
        """
        params = self._checked(params)
        with self._entry:
            old, self._params = self._params, params
            if _filter_settings(params) != _filter_settings(old):
                self._filter = self._new_filter()
            elif not params.same_pictures(old):
                self._filter.forget()
            self._filter.depth = self._depth(params)
        self.wake()

    def submit(self, picture: NDArray[np.uint8], number: int | None = None, received: float | None = None) -> int:
        """Hand in a frame that arrived at ``received`` (monotonic seconds; None: now).

        Returns its number (counted up from 0 where none is given).

        Raises:
            ArtflowError: ``too_many_waiting``, ``session_closed``, or what the policy's ``preprocess`` raises.
        """
        received = time.monotonic() if received is None else received
        with self._entry:
            params = self._params
            number = self._next_number if number is None else number
            if not self.policy.latest_only and len(self._inbox) >= self.policy.max_waiting:
                raise ArtflowError(
                    "too_many_waiting",
                    f"{len(self._inbox)} strokes wait already; at most {self.policy.max_waiting} may.",
                )
            shown, region = self.policy.preprocess(picture, params, self.runner.model.info)
            # A fade changes the picture of a still scene, too, and the filter does not see what is a hole.
            filtered = params.enable_similar_image_filter and region is None
            if self._planner.fading or self._emptied:
                self._emptied = False
                self._filter.forget()
            skip = filtered and not self._filter.passes(shown)
            replaced = [] if skip else self._put_in(Frame(number, shown, received, region))
            self._filter.replaced(len(replaced))
            self._next_number = number + 1
            if not self.policy.pipelined:  # only those are repeated, perhaps at another size: uncut
                self._last_picture = picture
        for old in replaced:
            self._dropped(old)
        if skip:
            self._supplied = time.monotonic()  # what is in flight is like what is seen: nobody waits for it
            self.metrics.skip()
            self._tell(Result(number, time.monotonic() - received, skipped=True))
        else:
            self.wake()
        return number

    def repeat(self) -> bool:
        """Answer the last frame once more, under its number, because the settings have changed.

        False where nothing has to be done: there is no frame yet, or one waits, which shows the settings anyway.
        """
        received = time.monotonic()
        with self._entry:
            if self._last_picture is None or (self._inbox and not self.policy.keep_alpha):
                return False
            shown, region = self.policy.preprocess(self._last_picture, self._params, self.runner.model.info)
            frame = Frame(self._next_number - 1, shown, received, region)
            with self._lock:
                if self._inbox:  # settings may size and cut a hole: what waits is looked at again
                    self._inbox[-1] = replace(frame, received=self._inbox[-1].received)
                    return False
            self._put_in(frame)
        self.wake()
        return True

    def discard(self, number: int, received: float) -> None:
        """Count and answer a frame that a newer one replaced before it was handed in."""
        self._dropped(Frame(number, None, received))

    def delivered(self, seconds: float) -> None:
        """Note how long a picture took from `deliver` to its person."""
        self._after = seconds

    def close(self) -> None:
        """End the session: what waits and what is in flight is let go."""
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
        return self._supplied + PUSHED_AFTER if self.policy.pipelined else float("-inf")

    @property
    def _frame_due(self) -> float:
        """When a frame may begin under ``max_fps``."""
        fps = self._params.max_fps
        return self._paced + 1 / fps if fps > 0 else float("-inf")

    def next(self, now: float) -> list[Request]:
        """See `Owner`. All of them go into the same call: those in flight, newest first, behind the one that enters."""
        if self._requests and not self.policy.pipelined:
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
        if self.policy.latest_only:
            self._on_begun(now, now - since, since - max(self._ended, due))
            # A camera always has a frame waiting: time before the session's own last step ended is no load of others.
            since, self._before = max(since, self._ended), came_in - frame.received
        else:
            since = frame.received
        self._begun, self._waited = now, max(now - max(since, due), 0.0)
        fps = self._params.max_fps
        # A frame that comes a little late must not slow the stream down, so up to one interval is made up for.
        self._paced = max(self._paced + 1 / fps, now - 1 / fps) if fps > 0 else now
        request.number, request.recipe = frame.number, self._planner.recipe
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
        frame, now = request.frame, time.monotonic()
        latency = now - frame.received
        self._ended = now
        self.metrics.answered(latency + self._after)
        if self._params.priority == "latency":
            # What each step of a stream costs, once for every step that it takes: that frames come slowly is no load.
            steps = request.step if self.policy.pipelined else 1
            self._quality.observe(self._before + steps * (self._waited + now - self._begun) + self._after)
        if flagged:
            self._tell(Result(frame.number, latency, error=ArtflowError("hidden", HIDDEN)))
        else:
            self._tell(Result(frame.number, latency, picture, request.recipe, region=frame.region))

    def fail(self, requests: Sequence[Request], error: ArtflowError) -> None:
        """Give up these frames and all that are in flight; the session goes on with the next frame."""
        lost = {id(r): r for r in (*requests, *self._requests) if isinstance(r, LiveRequest)}
        self._requests, self._emptied = [], True
        now = time.monotonic()
        for request in lost.values():
            if request.status is Status.FAILED:
                continue
            request.status = Status.FAILED
            if request.frame is None:
                self.refuse(error)
            else:
                self._tell(Result(request.frame.number, now - request.frame.received, error=error))

    def refuse(self, error: ArtflowError) -> None:
        """Give up the frame that waits as well as those in flight."""
        with self._lock:
            frame = self._inbox.popleft() if self._inbox else None
        self.fail([], error)
        if frame is not None:
            self._tell(Result(frame.number, time.monotonic() - frame.received, error=error))

    def end(self, error: ArtflowError) -> None:
        """Fail everything that waits or is in flight: nobody will serve it any more."""
        self.fail([], error)
        while self._inbox:
            self.refuse(error)

    def _prepare(self, now: float) -> StreamPlan | None:
        """The plan for the next step, replaced where settings, stage or a crossfade changed it; None while prompts are
        being encoded."""
        params = self._params
        if params.priority == "quality":
            self._quality.reset()
        before = self._planner.plan
        plan = self._planner.prepare(params, self._quality.stage, self._wanted_size(params), now, self.wake)
        if plan is not None and (before is None or plan.noise.shape != before.noise.shape):
            # Pictures of another number of steps or size would overtake each other or not fit one call: let them go.
            for request in self._requests:
                assert request.frame is not None
                self._dropped(request.frame)
            self._emptied |= bool(self._requests)
            self._requests = []
        return plan

    # -- inside -----------------------------------------------------------------------------------------------------

    def _checked(self, params: LiveParams) -> LiveParams:
        check_size(params.width, params.height, multiple=self.runner.model.vae_scale, longest=self._max_size)
        self.runner.schedules.make(params.steps, params.strength, params.t_index_list)
        if params.seed == -1:
            return params.model_copy(update={"seed": random_seed()})
        return params

    def _new_filter(self) -> SimilarityFilter:
        return SimilarityFilter(*_filter_settings(self._params)[1:], depth=self._depth(self._params))

    def _depth(self, params: LiveParams) -> int:
        if not self.policy.pipelined:
            return 1
        return len(self.runner.schedules.make(params.steps, params.strength, params.t_index_list))

    def _wanted_size(self, params: LiveParams) -> Size:
        """The size of the frame that waits where that has a hole, which sizes it by its picture; else what is asked."""
        with self._lock:
            frame = self._inbox[0] if self._inbox else None
        if frame is None or frame.picture is None or frame.region is None:
            return Size(params.width, params.height)
        return Size(frame.picture.shape[1], frame.picture.shape[0])

    def _put_in(self, frame: Frame) -> list[Frame]:
        """Let a frame wait; returns those that it replaces."""
        with self._lock:
            self._came_in = time.monotonic()
            if self.closed:
                raise ArtflowError("session_closed", "This session has ended; connect again.")
            replaced = list(self._inbox) if self.policy.latest_only else []
            if replaced:
                self._inbox.clear()
            elif not self._inbox:
                self._waiting_since = self._came_in
            self._inbox.append(frame)
        return replaced

    def _dropped(self, frame: Frame) -> None:
        self.metrics.drop()
        self._tell(Result(frame.number, time.monotonic() - frame.received, dropped=True))

    def _tell(self, result: Result) -> None:
        if self.closed:
            return
        try:
            self._on_result(result)
        except Exception:
            log.exception("a result could not be handed over", extra={"session": self.id})


def _inpaint(runner: Runner, frame: Frame, latents: torch.Tensor, size: Size) -> InpaintConditioning | None:
    """What stays of a frame with a region; ``latents`` are those of its pictures."""
    if frame.region is None or not len(latents):
        return None
    return InpaintConditioning(latents[0], runner.latent_mask(frame.region.mask, size), *latents[1:])


def _filter_settings(params: LiveParams) -> tuple[bool, float, int]:
    return (
        params.enable_similar_image_filter,
        params.similar_image_filter_threshold,
        params.similar_image_filter_max_skip_frame,
    )
