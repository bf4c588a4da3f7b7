"""What the engine works on in a live session, and what it says of it: values, which may cross to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from artflow.engine.control_unit import ControlPicture
from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, fit, resized


@dataclass(frozen=True)
class InpaintRegion:
    """The part of a frame that is painted anew; the rest of the frame stays as it is.

    ``mask``: ``uint8`` of the frame's height and width, over 127 where to paint. ``masked_image``: the frame with the
    painted part grey, for a UNet that is shown it (`Model.inpaints`), else None.
    """

    mask: NDArray[np.uint8]
    masked_image: Picture | None


@dataclass(frozen=True)
class Frame:
    """What the model is shown: the picture (None: start from noise) and when it came (monotonic seconds).

    ``number`` is the stream's own, each higher than the one before. ``repeat``: a picture that was shown before, with
    other settings; it is of no use where another waits, which will show them. ``after``: seconds that the last picture
    took from the engine to its person. ``controls`` steer it; their maps lie over the picture.
    """

    number: int
    picture: Picture | None
    received: float
    region: InpaintRegion | None = None
    repeat: bool = False
    after: float = 0.0
    controls: tuple[ControlPicture, ...] = ()

    def pictures(self, size: Size) -> list[Picture]:
        """What is encoded to begin with, at a plan's size: the picture, and what a UNet is shown of one with a hole."""
        if self.picture is None:
            return []
        if self.region is None:
            return [fit(self.picture, size)]
        # Never cropped: what is made has to lie over the picture when it goes back.
        return [resized(picture, size) for picture in (self.picture, self.region.masked_image) if picture is not None]

    def maps(self, size: Size) -> list[ControlPicture]:
        """The controls, with their maps at a plan's size."""
        if self.region is None:
            return [control.sized(size) for control in self.controls]
        return [control._replace(map=resized(control.map, size)) for control in self.controls]


@dataclass(frozen=True)
class Outcome:
    """What became of a frame: a picture and the recipe of that very picture, or why there is none.

    ``dropped``: a newer frame replaced it, or settings let it go on its way.
    """

    number: int
    picture: Picture | None = None
    recipe: dict[str, Any] | None = None
    dropped: bool = False
    error: ArtflowError | None = None


@dataclass(frozen=True)
class Flow:
    """How the engine treats the frames of a session; `StreamPolicy` says the rest.

    ``mode`` is what the recipes call the mode.
    ``pipelined``: n steps of n frames share one call (webcam); else a frame runs all its steps before the next.
    ``latest_only``: one frame waits at most, newer ones replace it; else they wait in order.
    """

    mode: str
    pipelined: bool
    latest_only: bool


class Listener(Protocol):
    """Who hears what becomes of a session's frames, from the thread that decides it. It must not block."""

    def begun(self, number: int, now: float, waited: float, idle: float) -> None:
        """A frame is begun at ``now`` (monotonic seconds), which had waited, or one that it replaced had, for
        ``waited`` seconds, after ``idle`` seconds in which the session had nothing to do."""

    def finished(self, outcome: Outcome) -> None:
        """The fate of a frame; told once of each."""


class Session(Protocol):
    """A live session in the engine, as its `LiveStream` reaches it. Safe from any thread; nothing of it waits."""

    def put(self, frame: Frame) -> None:
        """Let a frame wait for its turn."""

    def use(self, params: LiveParams) -> None:
        """Begin frames with these settings from now on."""

    def skipped(self) -> None:
        """A frame like the last one was held back: what is in flight is like what is seen, so nobody waits for it."""

    def close(self) -> None:
        """End the session: what waits and what is in flight is let go."""
