"""A person's side of a live session: what they send is checked, fitted and compared before the engine has it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artflow.engine.frame import Frame, Outcome, Session
from artflow.engine.noise_reduction import NoiseReduction
from artflow.engine.params import MAX_STEPS, LiveParams, random_seed
from artflow.engine.quality import STAGES
from artflow.engine.second_pass import Part, SecondPass
from artflow.engine.session_metrics import SessionMetrics
from artflow.engine.similarity import SimilarityFilter
from artflow.engine.stream_policy import Composite, OnBegun, Result, Seen, StreamPolicy, ignore_begun
from artflow.engine.timesteps import live_timesteps
from artflow.errors import ArtflowError
from artflow.images import check_size
from artflow.models.control_catalog import check_kinds
from artflow.models.info import ModelInfo
from artflow.models.progress import LoadProgress

log = logging.getLogger(__name__)

LEAST_MULTIPLE = 8  # pixels that sides are a multiple of, also where the model would take any


@dataclass
class Sent:
    """A frame that the engine has: what its person calls it, when it came, and what its picture goes back into.

    ``repeat``: it has been answered before.
    """

    frame: int
    received: float
    composite: Composite | None
    repeat: bool = False
    begun: bool = False


class LiveStream:
    """A live session, as its person's connection sees it. Safe from any thread.

    ``on_result`` is called once for every frame whose fate is decided before ``close``, from the thread that decides
    it, ``on_begun`` for every frame that is begun where the latest wins. They must not block. ``attach`` gives a stream
    or a second pass its session (`EngineClient`), where other models than the first are to serve it.
    """

    def __init__(
        self,
        model: ModelInfo,
        params: LiveParams,
        policy: StreamPolicy,
        on_result: Callable[[Result], None],
        on_begun: OnBegun = ignore_begun,
        *,
        max_size: int = 1024,
        attach: Callable[[LiveStream | SecondPass], None] | None = None,
    ) -> None:
        self.id = secrets.token_hex(4)  # for the log
        self.model = model
        self.policy = policy
        self.metrics = SessionMetrics()
        self.stage = STAGES[0].name()
        """What the session gave up under load for its last picture; ``full``: nothing."""
        self.waiting = 0
        """Frames that have come and are not begun."""
        self.closed = False
        self._session: Session | None = None
        self._on_result, self._on_begun = on_result, on_begun
        self._max_size = max_size
        self._attach = attach
        self._second: SecondPass | None = None
        self.waits_for: LoadProgress | None = None
        """The load of a model that is to serve it."""
        self.changing = threading.RLock()
        """Held from reading ``params`` until they are changed, by who changes them."""
        self._entry = threading.Lock()  # one submitter at a time; held while pictures are resized and compared
        self._lock = threading.Lock()  # what follows; held for moments only, because the engine waits for it
        self._sent: dict[int, Sent] = {}  # what the engine has, by the engine's number
        self._count = 0  # of frames that the engine was given
        self._unshown = False  # whether something that the filter knows was never shown
        self._replaced = 0  # frames that passed the filter and were replaced since it last heard
        self._fading = False  # whether equal frames give different pictures, since a crossfade goes on
        self._after = 0.0  # seconds that the last picture took to its person
        self._last_picture: NDArray[np.uint8] | None = None
        self._next_number = 0
        self._noise_reduction = NoiseReduction()
        self._params = _seeded(params)
        self.applied = self._params
        """What was asked for when the settings were last applied: they may wait for a model."""
        self.sized = self._checked(Part(model, self._params))
        """The settings that the model is given."""
        self._filter = self._new_filter()

    def serve(self, session: Session) -> None:
        """Begin: this is what serves it. Nothing can be sent before."""
        with self._lock:
            closed = self.closed
            self._session = None if closed else session
        if closed:
            session.close()

    @property
    def params(self) -> LiveParams:
        """What was asked for; the next frame will be made with it."""
        return self._params

    @property
    def served_by(self) -> list[str]:
        """The ids of the models that make its pictures, one after the other."""
        return [self.model.id] + ([self._second.model.id] if self._second is not None else [])

    @property
    def newest(self) -> int:
        """The number of the last frame that was handed in; -1: there is none yet."""
        return self._next_number - 1

    @property
    def depth(self) -> int:
        """Frames that must come in before the first of them is shown: the steps of a pipelined stream, else one."""
        return self._depth(self.sized)

    @property
    def greatest_depth(self) -> int:
        """What `depth` can become by other settings."""
        return MAX_STEPS if self.policy.pipelined else 1

    # -- what a person sends ----------------------------------------------------------------------------------------

    def update(self, params: LiveParams, parts: Sequence[Part] = ()) -> None:
        """Use these settings from the next frame on.

        ``parts`` are the one or two models that make its pictures from then on, each with what it is given; none: the
        model that does so now. What is under way with another model is dropped.

        Raises:
            ArtflowError: if the size or the step indices are not possible; the old settings stay.
        """
        params = _seeded(params)
        first, *more = parts or [Part(self.model, params)]
        with self._entry:
            self.waits_for = None
            sized = self._checked(first, params.seed)
            old, self._params, old_sized, self.sized = self.applied, params, self.sized, sized
            self.applied = params
            moves = first.model.id != self.model.id
            if moves:
                self._move(first.model)
            if moves or _filter_settings(params) != _filter_settings(old):
                self._filter = self._new_filter()
            elif not (params.same_pictures(old) and sized.same_pictures(old_sized)):
                self._filter.forget()
            self._filter.depth = self._depth(sized)
            self._use_second(more[0] if more else None)
            if not moves and (session := self._session) is not None:
                session.use(sized)

    def wait_for(self, params: LiveParams, model: LoadProgress | None) -> None:
        """Note what is asked for until the model is loaded that it needs; pictures are made as before meanwhile."""
        with self._entry:
            self._params, self.waits_for = _seeded(params), model

    def submit(self, picture: NDArray[np.uint8], number: int | None = None, received: float | None = None) -> int:
        """Hand in a frame that arrived at ``received`` (monotonic seconds; None: now).

        Returns its number (counted up from 0 where none is given).

        Raises:
            ArtflowError: ``too_many_waiting``, ``session_closed``, or what the policy's ``preprocess`` raises.
        """
        received = time.monotonic() if received is None else received
        with self._entry:
            number = self._next_number if number is None else number
            if not self.policy.latest_only and self.waiting >= self.policy.max_waiting:
                raise ArtflowError(
                    "too_many_waiting", f"{self.waiting} strokes wait already; at most {self.policy.max_waiting} may."
                )
            seen = self.policy.preprocess(picture, self.sized, self.model)
            if self.model.amplifies_noise and self.policy.pipelined:
                seen = seen._replace(picture=self._noise_reduction.apply(seen.picture))
            skip = self._skips(seen)
            if not skip:
                self._put(Sent(number, received, seen.composite), seen)
            elif self.policy.pipelined and (session := self._session) is not None:
                session.skipped()
            self._next_number = number + 1
            if not self.policy.pipelined:  # only those are repeated, perhaps at another size: uncut
                self._last_picture = picture
        if skip:
            self.metrics.skip()
            self._tell(Result(number, time.monotonic() - received, skipped=True))
        return number

    def repeat(self) -> bool:
        """Answer the last frame once more, under its number, because the settings have changed.

        Where one waits that will show them anyway, the answer says that this one was dropped. False, and no answer,
        where there is no frame yet.
        """
        with self._entry:
            if self._last_picture is None:
                return False
            sent = Sent(self.newest, time.monotonic(), None, repeat=True)
            seen = self.policy.preprocess(self._last_picture, self.sized, self.model)
            sent.composite = seen.composite
            self._put(sent, seen)
        return True

    def discard(self, number: int, received: float) -> None:
        """Count and answer a frame that a newer one replaced before it was handed in."""
        self.metrics.drop()
        self._tell(Result(number, time.monotonic() - received, dropped=True))

    def delivered(self, seconds: float) -> None:
        """Note how long a picture took from the engine to its person."""
        self._after = seconds

    def close(self) -> None:
        """End the session: what waits and what is on its way is let go."""
        with self._lock:
            self.closed = True
            self._sent.clear()
            # They know each other: without this they would wait for the garbage collector.
            session, self._session = self._session, None
            second, self._second = self._second, None
        for one in (session, second):
            if one is not None:
                one.close()

    # -- what the engine says (see `Listener`) ----------------------------------------------------------------------

    def begun(self, number: int, now: float, waited: float, idle: float) -> None:
        """A frame is begun."""
        with self._lock:
            if (sent := self._sent.get(number)) is None:
                return
            sent.begun = True
            self.waiting -= 1
        if self.policy.latest_only:
            self._on_begun(now, waited, idle)

    def finished(self, outcome: Outcome) -> None:
        """The fate of a frame is known, or its picture goes on to the second model."""
        if outcome.picture is not None and (second := self._second) is not None:
            with self._lock:
                sent = self._sent.get(outcome.number)
            if sent is not None and second.put(outcome, sent.received):
                return
            outcome = Outcome(outcome.number, dropped=True)  # the second model has just been left out
        self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        hidden = outcome.error is not None and outcome.error.code == "hidden"
        shown = outcome.picture is not None or hidden
        with self._lock:
            if (sent := self._sent.pop(outcome.number, None)) is None:
                return
            self.waiting -= not sent.begun
            again = outcome.dropped and any(other.frame == sent.frame for other in self._sent.values())
            if not shown:
                self._unshown |= sent.begun or outcome.error is not None
                self._replaced += outcome.dropped
        latency = time.monotonic() - sent.received
        if shown:
            self.metrics.answered(latency + self._after)
        elif outcome.dropped and not (sent.repeat or again):  # no frame was lost, the picture had been shown
            self.metrics.drop()
        if outcome.recipe is not None:
            self.stage, self._fading = outcome.recipe["stage"], "crossfade" in outcome.recipe
        made = outcome.picture, outcome.recipe
        self._tell(Result(sent.frame, latency, *made, False, outcome.dropped, outcome.error, sent.composite, again))

    def lost(self, error: ArtflowError) -> None:
        """The engine has lost all that it had of this session; its frames are answered with the reason."""
        with self._lock:
            numbers = list(self._sent)
        for number in numbers:
            self.finished(Outcome(number, error=error))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _put(self, sent: Sent, seen: Seen) -> None:
        controls = self.policy.maps(seen.picture, self.sized.control)
        with self._lock:
            if (session := self._session) is None:
                raise ArtflowError("session_closed", "This session has ended; connect again.")
            number = self._count
            self._count += 1
            self._sent[number] = sent
            self.waiting += 1
        session.put(Frame(number, seen.picture, sent.received, seen.region, sent.repeat, self._after, controls))

    def _skips(self, seen: Seen) -> bool:
        """Whether a frame is too like the last one. A filter does not see what is a hole, and what fades changes."""
        with self._lock:
            unshown, self._unshown = self._unshown, False
            replaced, self._replaced = self._replaced, 0
        self._filter.replaced(replaced)
        if unshown or self._fading:
            self._filter.forget()
        filtered = self._params.enable_similar_image_filter and seen.region is None
        return filtered and not self._filter.passes(seen.picture)

    def _checked(self, part: Part, seed: int | None = None) -> LiveParams:
        params = part.sized if seed is None else part.sized.model_copy(update={"seed": seed})
        multiple = max(LEAST_MULTIPLE, part.model.vae_scale)
        check_size(params.width, params.height, multiple=multiple, longest=self._max_size)
        _timesteps(part.model, params)
        check_kinds([unit.kind for unit in params.control], part.model.control_kinds, part.model.id)
        return params

    def _move(self, model: ModelInfo) -> None:
        """Go on with another model. What the one before has of this stream is answered as dropped."""
        with self._lock:
            session, self._session = self._session, None
            under_way = list(self._sent)
        if session is None or self._attach is None:
            raise ArtflowError("session_closed", "This session has ended; connect again.")
        session.close()
        for number in under_way:
            self._finish(Outcome(number, dropped=True))
        self.model = model
        self._attach(self)

    def _use_second(self, part: Part | None) -> None:
        second = self._second
        if second is not None and (part is None or part.model.id != second.model.id):
            self._second = None
            second.close()
            for number in second.numbers:
                self._finish(Outcome(number, dropped=True))
        if part is None:
            return
        if self._second is not None:
            self._second.use(part)
        elif self._attach is not None:
            new = SecondPass(self.id, part, self.policy.mode, self._finish)
            self._attach(new)
            with self._lock:
                self._second = None if self.closed else new
            if self._second is None:
                new.close()

    def _depth(self, params: LiveParams) -> int:
        return len(_timesteps(self.model, params)) if self.policy.pipelined else 1

    def _new_filter(self) -> SimilarityFilter:
        return SimilarityFilter(*_filter_settings(self._params)[1:], depth=self._depth(self.sized))

    def _tell(self, result: Result) -> None:
        if self.closed:
            return
        try:
            self._on_result(result)
        except Exception:
            log.exception("a result could not be handed over", extra={"session": self.id})


def _seeded(params: LiveParams) -> LiveParams:
    return params.model_copy(update={"seed": random_seed()}) if params.seed == -1 else params


def _timesteps(model: ModelInfo, params: LiveParams) -> list[int]:
    return live_timesteps(model.live_schedule, params.steps, params.strength, params.t_index_list, model.train_steps)


def _filter_settings(params: LiveParams) -> tuple[bool, float, int]:
    return (
        params.enable_similar_image_filter,
        params.similar_image_filter_threshold,
        params.similar_image_filter_max_skip_frame,
    )
