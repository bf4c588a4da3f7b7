"""How a mode's frames flow, and what comes out: what the modes, the sockets and the sessions have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artflow.engine.frame import Hole
from artflow.engine.params import LiveParams
from artflow.engine.runner import Runner
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, fit


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
    hole: Hole | None = None

    def whole(self) -> Picture:
        """The picture; where it filled a hole, back in its place. Takes its time: not for the engine's thread."""
        assert self.picture is not None
        return self.picture if self.hole is None else self.hole.finish(self.picture)


Look = Callable[[NDArray[np.uint8], LiveParams, Runner], tuple[Picture, Hole | None]]


def centred(picture: NDArray[np.uint8], params: LiveParams, runner: Runner) -> tuple[Picture, Hole | None]:
    """The centre of a picture, at the size that is asked for."""
    return fit(picture, Size(params.width, params.height)), None


@dataclass(frozen=True)
class Flow:
    """How a mode treats the frames of its sessions.

    ``mode`` is what the recipes call the mode.
    ``pipelined``: n steps of n frames share one call (webcam); else a frame runs all its steps before the next.
    ``latest_only``: one frame waits at most, newer ones replace it; else up to ``max_waiting`` wait, in order.
    ``look``: what the model is shown of a picture; raises `ArtflowError` for one that cannot be worked with.
    ``holes``: pictures keep their transparency, (height, width, 4), because what is see-through is to be made anew.
    """

    mode: str
    pipelined: bool
    latest_only: bool
    max_waiting: int = 64
    look: Look = centred
    holes: bool = False
