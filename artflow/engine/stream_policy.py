"""How a mode treats the frames of its sessions, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artflow.engine.control_unit import ControlPicture, ControlUnit
from artflow.engine.frame import Flow, InpaintRegion
from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, fit
from artflow.models.info import ModelInfo

Composite = Callable[[Picture], Picture]
"""Puts what was made of a region, of any size, back into the picture that came in."""


class Seen(NamedTuple):
    """What the model is shown of a picture. ``composite`` goes with a region."""

    picture: Picture
    region: InpaintRegion | None = None
    composite: Composite | None = None


Preprocess = Callable[[NDArray[np.uint8], LiveParams, ModelInfo], Seen]


def centred(picture: NDArray[np.uint8], params: LiveParams, model: ModelInfo) -> Seen:
    """The centre of a picture, at the size that is asked for."""
    return Seen(fit(picture, Size(params.width, params.height)))


Maps = Callable[[Picture, Sequence[ControlUnit]], tuple[ControlPicture, ...]]


def no_maps(picture: Picture, units: Sequence[ControlUnit]) -> tuple[ControlPicture, ...]:
    """For modes without control."""
    return ()


@dataclass(frozen=True)
class Result:
    """The answer to one frame: a picture and the recipe of that very picture, or why there is none.

    ``latency``: seconds from the frame's arrival to this. ``picture`` is as the model made it; people are shown
    `whole`.
    """

    frame: int
    latency: float
    picture: Picture | None = None
    recipe: dict[str, Any] | None = None
    skipped: bool = False
    dropped: bool = False
    error: ArtflowError | None = None
    composite: Composite | None = None
    again: bool = False
    """Of a dropped one: the same frame is still under way with newer settings, and that is its answer."""

    def whole(self) -> Picture:
        """The whole picture: an inpainted region is put back into its frame. Slow, so never in the engine's thread."""
        assert self.picture is not None
        return self.picture if self.composite is None else self.composite(self.picture)


OnBegun = Callable[[float, float, float], None]
"""Hears when a frame of a latest-only session is begun: the time (monotonic seconds), the seconds that it or one that
it replaced had waited, and the seconds before in which the session had nothing to do."""


def ignore_begun(now: float, waited: float, idle: float) -> None:
    """For who does not want to know."""


@dataclass(frozen=True)
class StreamPolicy(Flow):
    """How a mode treats the frames of its sessions, before the engine has them and in it (`Flow`).

    ``max_waiting``: how many frames may wait where the latest does not win.
    ``preprocess``: what the model is shown of a picture; raises `ArtflowError` for one that cannot be worked with.
    ``maps``: each control with its map of what the model is shown; raises `ArtflowError` where that cannot be made.
    ``keep_alpha``: pictures are (height, width, 4), because what is transparent in them is to be painted anew.
    """

    max_waiting: int = 64
    preprocess: Preprocess = centred
    maps: Maps = no_maps
    keep_alpha: bool = False

    @property
    def flow(self) -> Flow:
        """What the engine needs of it."""
        return Flow(self.mode, self.pipelined, self.latest_only)
