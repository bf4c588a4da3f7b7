"""What a person sent, as the engine works on it: a picture, and sometimes a hole in it that is to be made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture, Size, fit, resized


@dataclass(frozen=True)
class Hole:
    """The part of a frame that is made anew; the rest of it is known and stays.

    ``mask`` is ``uint8`` of the frame's height and width: over 127 where to make anew. ``unseen`` is the frame without
    what is in the hole, for a UNet that is shown it (`Model.inpaints`), else None. ``finish`` puts what was made, at
    any size, back into the picture that came in; it takes its time, so whoever shows the picture calls it, never the
    engine.
    """

    mask: NDArray[np.uint8]
    unseen: Picture | None
    finish: Callable[[Picture], Picture]


@dataclass(frozen=True)
class Frame:
    """What a person sent: the picture (None: start from noise), its number, and when it came (monotonic seconds)."""

    number: int
    picture: Picture | None
    received: float
    hole: Hole | None = None

    def pictures(self, size: Size) -> list[Picture]:
        """What is encoded to begin with, at a plan's size: the picture, and what a UNet is shown of one with a hole."""
        if self.picture is None:
            return []
        if self.hole is None:
            return [fit(self.picture, size)]
        # Never cropped: what is made has to lie over the picture when it goes back.
        return [resized(picture, size) for picture in (self.picture, self.hole.unseen) if picture is not None]
