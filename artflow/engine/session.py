"""One person's live state: what came in and waits, what is in the air, and what the next frame is made with."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from artflow.engine.flight import Flight, Known, Plan, Step
from artflow.engine.flow import Flow, Result
from artflow.engine.frame import Frame
from artflow.engine.load import LoadLadder
from artflow.engine.numbers import Numbers
from artflow.engine.params import MAX_STEPS, LiveParams, random_seed
from artflow.engine.planner import Planner
from artflow.engine.runner import Runner
from artflow.engine.similarity import SimilarityFilter
from artflow.errors import HIDDEN, ArtflowError
from artflow.images import Picture, Size, check_size

log = logging.getLogger(__name__)

ALONE_AFTER = 0.25  # seconds without a new frame after which those in the air go on by themselves


class LiveSession:
    """A person's stream of frames.

    ``submit``, ``repeat``, ``update`` and ``close`` may be called from any thread; all else belongs to the engine's
    thread. ``on_result`` is called once for every frame whose fate is decided before ``close``, from the thread that
    decides it; it must not block. ``on_begun(now, waited, idle)`` is called on the engine's thread for every frame that
    is begun where the latest wins: the time, the seconds that it or one that it replaced had waited, and the seconds
    before in which this session had nothing to do; it must not block either.
    """

    def __init__(
        self,
        runner: Runner,
        params: LiveParams,
        flow: Flow,
        on_result: Callable[[Result], None],
        *,
        max_size: int = 1024,
    ) -> None:
        self.id = secrets.token_hex(4)  # for the log
        self.runner = runner
        self.flow = flow
        self.numbers = Numbers()
        self.last_served = 0.0
        self.closed = False
        self.wake: Callable[[], None] = lambda: None
        self.on_begun: Callable[[float, float, float], None] = lambda now, waited, idle: None
        self._on_result = on_result
        self._max_size = max_size
        self._entry = threading.Lock()  # one submitter at a time; held while pictures are resized and compared
        self._lock = threading.Lock()  # the inbox; held for moments only, because the engine waits for it
        self._inbox: deque[Frame] = deque()
        self._last_picture: NDArray[np.uint8] | None = None
        self._next_number = 0
        self._flights: list[Flight] = []
        self._stock: torch.Tensor | None = None
        self._ladder = LoadLadder()
        self._planner = Planner(runner, flow.mode)
        self._emptied = False  # what was in the air was let go, so the filter's last picture was never shown
        self._paced = float("-inf")  # when the last frame should have begun under max_fps
        self._waiting_since = self._begun = self._ended = 0.0  # of the frame that waits; of the last step
        self._waited = 0.0  # seconds that the last one was kept waiting, though it could begin
        self._came_in = 0.0  # when the frame that waits was put in
        self._supplied = 0.0  # end of the last step that a frame entered with, or the last skip
        self._entering = False  # whether a frame enters with the step that runs
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
        return MAX_STEPS if self.flow.pipelined else 1

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

    def submit(
        self, picture: NDArray[np.uint8], number: int | None = None, received: float | None = None
    ) -> int:
        """Hand in a frame that arrived at ``received`` (monotonic seconds; None: now).

        Returns its number (counted up from 0 where none is given).

        Raises:
            ArtflowError: ``too_many_waiting``, ``session_closed``, or what the flow's ``look`` raises.
        """
        received = time.monotonic() if received is None else received
        with self._entry:
            params = self._params
            number = self._next_number if number is None else number
            if not self.flow.latest_only and len(self._inbox) >= self.flow.max_waiting:
                raise ArtflowError(
                    "too_many_waiting", f"{len(self._inbox)} strokes wait already; at most {self.flow.max_waiting} may."
                )
            shown, hole = self.flow.look(picture, params, self.runner)
            # A fade changes the picture of a still scene, too, and the filter does not see what is a hole.
            filtered = params.enable_similar_image_filter and hole is None
            if self._planner.fading or self._emptied:
                self._emptied = False
                self._filter.forget()
            skip = filtered and not self._filter.passes(shown)
            replaced = [] if skip else self._put_in(Frame(number, shown, received, hole))
            self._filter.replaced(len(replaced))
            self._next_number = number + 1
            if not self.flow.pipelined:  # only those are repeated, perhaps at another size: uncut
                self._last_picture = picture
        for old in replaced:
            self._dropped(old)
        if skip:
            self._supplied = time.monotonic()  # what is in the air is like what is seen: nobody waits for it
            self.numbers.skip()
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
            if self._last_picture is None or (self._inbox and not self.flow.holes):
                return False
            shown, hole = self.flow.look(self._last_picture, self._params, self.runner)
            frame = Frame(self._next_number - 1, shown, received, hole)
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
        """End the session: what waits and what is in the air is let go."""
        with self._lock:
            self.closed = True
            self._inbox.clear()
        self.wake()

    # -- the engine's thread --------------------------------------------------------------------------------------

    def ready(self, now: float) -> bool:
        """Whether there is a step to run."""
        if self._flights and not self.flow.pipelined:
            return True
        return now >= self.due

    @property
    def due(self) -> float:
        """When the next step may run (monotonic seconds): when the frame that waits may begin; where none waits, when
        what a stream has in the air goes on alone; infinity where it has nothing."""
        if self._inbox:
            return self._frame_due
        return self._supplied + ALONE_AFTER if self._flights else float("inf")

    @property
    def _frame_due(self) -> float:
        """When a frame may begin under ``max_fps``."""
        fps = self._params.max_fps
        return self._paced + 1 / fps if fps > 0 else float("-inf")

    def prepare(self, now: float) -> Plan:
        """The plan that the next step is run with, made anew where settings, stage or a crossfade changed it."""
        if self._flights and not self.flow.pipelined:
            return self._flights[0].plan
        params = self._params
        if params.priority == "quality":
            self._ladder.reset()
        before = self._planner.plan
        plan = self._planner.prepare(params, self._ladder.stage, self._wanted_size(params), now)
        if before is None or plan.noise.shape != before.noise.shape:
            # Flights of another length or size would overtake each other or not fit one call; let them go.
            for flight in self._flights:
                self._dropped(flight.frame)
            self._emptied |= bool(self._flights)
            self._flights, self._stock = [], None
        return plan

    def take(self, now: float) -> Frame | None:
        """The frame that enters with this step; None for a step that those in the air go alone."""
        if self._flights and not self.flow.pipelined:
            return None
        due = self._frame_due
        with self._lock:
            frame = self._inbox.popleft() if self._inbox and now >= due else None
            since, came_in = self._waiting_since, self._came_in
        self._entering = frame is not None
        if frame is None:
            self._begun, self._waited = now, 0.0
            return None
        free = max(self._ended, due)
        if self.flow.latest_only:
            self.on_begun(now, now - since, since - free)
            # A camera always has a frame waiting: that its own last step is not over is no wait for others.
            since, self._before = max(since, self._ended), came_in - frame.received
        else:
            since = frame.received
        self._begun, self._waited = now, max(now - max(since, due), 0.0)
        fps = self._params.max_fps
        # A frame that comes a little late must not slow the stream down, so up to one interval is made up for.
        self._paced = max(self._paced + 1 / fps, now - 1 / fps) if fps > 0 else now
        return frame

    @property
    def plan(self) -> Plan:
        """The plan of the last `prepare`."""
        assert self._planner.plan is not None
        return self._planner.plan

    def enter(self, frame: Frame, latents: torch.Tensor) -> Flight:
        """The flight of a frame; ``latents`` are those of its pictures (`Frame.pictures`)."""
        source, *masked = latents if len(latents) else [None]
        known = None
        if frame.hole is not None and source is not None:
            mask = self.runner.latent_mask(frame.hole.mask, self.plan.size)
            known = Known(source, mask, *masked)
        return Flight.start(self.plan, source, self._stock, self._planner.recipe, frame, known)

    @property
    def flights(self) -> list[Flight]:
        """What is in the air, newest first."""
        return self._flights

    def absorb(self, steps: list[Step]) -> None:
        """Take the step's outcome: flights that go on. Finished ones are delivered by `deliver`."""
        self._ended = time.monotonic()
        if self._entering:
            self._supplied = self._ended
        self._flights = [s.flight for s in steps if s.finished is None]
        if steps and len(steps[0].flight.plan.schedule) == 1:
            self._stock = steps[0].flight.stock

    def deliver(self, flight: Flight, picture: Picture, flagged: bool = False) -> None:
        """Hand a finished picture to its person, or say that it is not shown."""
        now = self._ended = time.monotonic()
        latency = now - flight.frame.received
        self.numbers.answered(latency + self._after)
        if self._params.priority == "latency":
            # What each step of a stream costs, once for every step that it takes: that frames come slowly is no load.
            steps = len(flight.plan.schedule) if self.flow.pipelined else 1
            self._ladder.observe(self._before + steps * (self._waited + now - self._begun) + self._after)
        if flagged:
            self._tell(Result(flight.frame.number, latency, error=ArtflowError("hidden", HIDDEN)))
        else:
            self._tell(Result(flight.frame.number, latency, picture, flight.recipe, hole=flight.frame.hole))

    def fail(self, frames: list[Frame], error: ArtflowError) -> None:
        """Give up these frames and what is in the air; the session goes on with the next frame."""
        self._flights, self._stock, self._emptied = [], None, True
        now = time.monotonic()
        for frame in frames:
            self._tell(Result(frame.number, now - frame.received, error=error))

    def end(self, error: ArtflowError) -> None:
        """Fail everything that waits or is in the air: nobody will serve it any more."""
        with self._lock:
            waiting = list(self._inbox)
            self._inbox.clear()
        self.fail([*(flight.frame for flight in reversed(self._flights)), *waiting], error)

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
        if not self.flow.pipelined:
            return 1
        return len(self.runner.schedules.make(params.steps, params.strength, params.t_index_list))

    def _wanted_size(self, params: LiveParams) -> Size:
        """The size of the frame that waits where that has a hole, which sizes it by its picture; else what is asked."""
        with self._lock:
            frame = self._inbox[0] if self._inbox else None
        if frame is None or frame.picture is None or frame.hole is None:
            return Size(params.width, params.height)
        return Size(frame.picture.shape[1], frame.picture.shape[0])

    def _put_in(self, frame: Frame) -> list[Frame]:
        """Let a frame wait; returns those that it replaces."""
        with self._lock:
            self._came_in = time.monotonic()
            if self.closed:
                raise ArtflowError("session_closed", "This session has ended; connect again.")
            replaced = list(self._inbox) if self.flow.latest_only else []
            if replaced:
                self._inbox.clear()
            elif not self._inbox:
                self._waiting_since = self._came_in
            self._inbox.append(frame)
        return replaced

    def _dropped(self, frame: Frame) -> None:
        self.numbers.drop()
        self._tell(Result(frame.number, time.monotonic() - frame.received, dropped=True))

    def _tell(self, result: Result) -> None:
        try:
            self._on_result(result)
        except Exception:
            log.exception("a result could not be handed over", extra={"session": self.id})


def _filter_settings(params: LiveParams) -> tuple[bool, float, int]:
    return (
        params.enable_similar_image_filter,
        params.similar_image_filter_threshold,
        params.similar_image_filter_max_skip_frame,
    )
