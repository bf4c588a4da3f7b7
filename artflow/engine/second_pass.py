"""A second model over the pictures of a stream: it paints what the first has drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from artflow.engine.frame import Frame, Outcome
from artflow.engine.params import LiveParams
from artflow.engine.stream_policy import StreamPolicy

if TYPE_CHECKING:
    from artflow.engine.frame import Session
    from artflow.errors import ArtflowError
    from artflow.models.info import ModelInfo


@dataclass(frozen=True)
class Part:
    """What one model makes of a stream's frames: the model, and the settings that it is given."""

    model: ModelInfo
    params: LiveParams

    @property
    def sized(self) -> LiveParams:
        """The settings with the model's own size where they ask for none."""
        width, height = self.params.width or self.model.width, self.params.height or self.model.height
        return self.params.model_copy(update={"width": width, "height": height})


class SecondPass:
    """A session of the engine that is fed with finished pictures; it answers all of them, in their order.

    To the engine it is what a `LiveStream` is: who sends frames, and hears what becomes of them. ``on_finished`` gets
    the outcome of each frame.
    """

    def __init__(self, name: str, part: Part, mode: str, on_finished: Callable[[Outcome], None]) -> None:
        self.id = f"{name}/{part.model.id}"
        self.model = part.model
        self.sized = part.sized
        self.policy = StreamPolicy(mode, pipelined=False, latest_only=False)
        self.closed = False
        self._session: Session | None = None
        self._on_finished = on_finished
        self._lock = threading.Lock()  # what follows; held for moments only
        self.numbers: list[int] = []
        self._first: dict[int, dict[str, Any]] = {}  # recipes of the pictures that it works on

    def serve(self, session: Session) -> None:
        """Begin: this is what serves it."""
        self._session = session

    def put(self, outcome: Outcome, received: float) -> bool:
        """Work on a finished picture; False where it has been closed."""
        with self._lock:
            session = self._session
            if session is None or self.closed:
                return False
            self._first[outcome.number] = outcome.recipe or {}
        session.put(Frame(outcome.number, outcome.picture, received))
        return True

    def use(self, part: Part) -> None:
        """Work with these settings from the next picture on."""
        self.sized = part.sized
        if self._session is not None:
            self._session.use(self.sized)

    def close(self) -> None:
        """End it; nothing more is heard of what it works on, which is `numbers`."""
        with self._lock:
            self.closed = True
            session, self._session = self._session, None
            self.numbers, self._first = list(self._first), {}
        if session is not None:
            session.close()

    # -- what the engine says ---------------------------------------------------------------------------------------

    def begun(self, number: int, now: float, waited: float, idle: float) -> None:
        """Nobody waits for this."""

    def finished(self, outcome: Outcome) -> None:
        """The fate of a picture is known."""
        with self._lock:
            first = self._first.pop(outcome.number, None)
        if first is None:
            return
        if outcome.recipe is not None:
            outcome = replace(outcome, recipe=_joined(first, outcome.recipe))
        self._on_finished(outcome)

    def lost(self, error: ArtflowError) -> None:
        """The engine has lost all that it had of this."""
        with self._lock:
            numbers = list(self._first)
        for number in numbers:
            self.finished(Outcome(number, error=error))


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The recipe of a picture that one model drew and another painted over: what was asked, then who did what."""
    facts = {name: second[name] for name in ("model", "strength", "styles", "style_picture") if second.get(name)}
    used = {} if first["prompt"] == second["prompt"] else {"prompt_used": first.get("prompt_used", first["prompt"])}
    asked = {name: second[name] for name in ("prompt", "width", "height")}
    under_load = {"stage": second["stage"]} if second["stage"] != "full" else {}
    fading = {"crossfade": second["crossfade"]} if "crossfade" in second else {}
    return first | asked | used | under_load | fading | {"painted_over": facts}
