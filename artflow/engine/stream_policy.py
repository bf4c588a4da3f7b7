"""How a mode treats the frames of its sessions, and what comes out of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artflow.engine.frame import InpaintRegion
from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, fit
from artflow.models.info import ModelInfo


@dataclass(frozen=True)
class Result:
    """The answer to one frame: a picture and the recipe of that very picture, or why there is none.

    ``picture`` is as the model made it; people are shown `whole`.
    """

    frame: int
    latency: float
    picture: Picture | None = None
    recipe: dict[str, Any] | None = None
    skipped: bool = False
    dropped: bool = False
    error: ArtflowError | None = None
    region: InpaintRegion | None = None

    def whole(self) -> Picture:
        """The whole picture: an inpainted region is put back into its frame. Slow: not for the engine's thread."""
        assert self.picture is not None
        return self.picture if self.region is None else self.region.composite(self.picture)


Preprocess = Callable[[NDArray[np.uint8], LiveParams, ModelInfo], tuple[Picture, InpaintRegion | None]]


def centred(picture: NDArray[np.uint8], params: LiveParams, model: ModelInfo) -> tuple[Picture, InpaintRegion | None]:
    """The centre of a picture, at the size that is asked for."""
    return fit(picture, Size(params.width, params.height)), None


OnBegun = Callable[[float, float, float], None]
"""Hears when a frame of a latest-only session is begun: the time (monotonic seconds), the seconds that it or one that
it replaced had waited, and the seconds before in which the session had nothing to do."""


def ignore_begun(now: float, waited: float, idle: float) -> None:
    """For who does not want to know."""


@dataclass(frozen=True)
class StreamPolicy:
    """How a mode treats the frames of its sessions.

    ``mode`` is what the recipes call the mode.
    ``pipelined``: n steps of n frames share one call (webcam); else a frame runs all its steps before the next.
    ``latest_only``: one frame waits at most, newer ones replace it; else up to ``max_waiting`` wait, in order.
    ``preprocess``: what the model is shown of a picture; raises `ArtflowError` for one that cannot be worked with.
    ``keep_alpha``: pictures are (height, width, 4), because what is transparent in them is to be painted anew.
    """

    mode: str
    pipelined: bool
    latest_only: bool
    max_waiting: int = 64
    preprocess: Preprocess = centred
    keep_alpha: bool = False
