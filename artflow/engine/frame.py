"""What a person sent, as the engine works on it: a picture, and sometimes a region of it to be painted anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture, Size, fit, resized


@dataclass(frozen=True)
class InpaintRegion:
    """The part of a frame that is painted anew; the rest of the frame stays as it is.

    ``mask``: ``uint8`` of the frame's height and width, over 127 where to paint. ``masked_image``: the frame with the
    painted part grey, for a UNet that is shown it (`Model.inpaints`), else None. ``composite`` puts what was made, of
    any size, back into the picture that came in. It is slow, so the engine never calls it: whoever shows the picture
    does.
    """

    mask: NDArray[np.uint8]
    masked_image: Picture | None
    composite: Callable[[Picture], Picture]


@dataclass(frozen=True)
class Frame:
    """What a person sent: the picture (None: start from noise), its number, and when it came (monotonic seconds)."""

    number: int
    picture: Picture | None
    received: float
    region: InpaintRegion | None = None

    def pictures(self, size: Size) -> list[Picture]:
        """What is encoded to begin with, at a plan's size: the picture, and what a UNet is shown of one with a hole."""
        if self.picture is None:
            return []
        if self.region is None:
            return [fit(self.picture, size)]
        # Never cropped: what is made has to lie over the picture when it goes back.
        return [resized(picture, size) for picture in (self.picture, self.region.masked_image) if picture is not None]
