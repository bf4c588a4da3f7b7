"""Transparency beside the colours: what a capability that knows only colours does to a picture of four channels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture
from artflow.modes.masks import surroundings

Alpha = NDArray[np.uint8]
FAINT = 16  # alpha below which a colour says nothing


def split(picture: NDArray[np.uint8]) -> tuple[Picture, Alpha | None]:
    """The colours of a picture and its alpha, (height, width); None where it has three channels.

    What is clear, or nearly, gets the colours around it, so that no other colour comes into soft
    edges when pixels are mixed: editors leave black there, or what is left of a colour that was multiplied by alpha.
    """
    if picture.shape[-1] == 3:
        return picture, None
    colours, alpha = picture[..., :3], picture[..., 3]
    clear = np.where(alpha < FAINT, np.uint8(255), np.uint8(0))
    if clear.any() and not clear.all():
        colours = surroundings(colours, clear, radius=4)
    return np.ascontiguousarray(colours), alpha


def joined(colours: Picture, alpha: Alpha | None) -> NDArray[np.uint8]:
    """Colours and alpha of one size as one picture; the colours alone where there is no alpha."""
    return colours if alpha is None else np.dstack([colours, alpha])


def as_picture(alpha: Alpha) -> Picture:
    """Alpha as shades of grey, for what works on pictures."""
    return np.repeat(alpha[..., None], 3, axis=2)


def within_neighbours(enlarged: Picture, alpha: Alpha) -> Alpha:
    """Alpha out of its enlarged shades of grey, no further than the pixels around it were.

    Enlarging by networks and by Lanczos overshoots beside edges, and what was quite clear or opaque must stay so.
    """
    height, width = enlarged.shape[:2]
    around = np.ones((3, 3), np.uint8)
    low, high = (
        cv2.resize(limit(alpha, around), (width, height), interpolation=cv2.INTER_NEAREST)
        for limit in (cv2.erode, cv2.dilate)
    )
    return np.clip(enlarged[..., 1], low, high)


def moved(alpha: Alpha, move: Callable[[Picture], Picture]) -> Alpha:
    """Alpha after what moves pixels and brings in white ones: these are clear."""
    return 255 - move(as_picture(255 - alpha))[..., 1]
