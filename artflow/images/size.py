"""Sizes of pictures, and pictures of another size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from artflow.errors import ArtflowError

Picture = NDArray[np.uint8]

BAND = 2**20  # pixels that are worked on at once: copies of a whole photo would take several times its memory
LEAST_REDUCED = 8  # pixels that a reduced copy keeps of the shorter side


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"

    def scaled(self, factor: float, multiple: int) -> Size:
        """This size times ``factor``, each side rounded to a multiple (at least one)."""
        return Size(*(max(multiple, round(side * factor / multiple) * multiple) for side in self))

    def within(self, longest: int) -> Size:
        """The size of a copy of at most ``longest`` pixels a side, or of one that is 8 pixels high or wide."""
        factor = min(1.0, max(longest / max(self), LEAST_REDUCED / min(self)))
        return self.scaled(factor, 1)


def check_size(width: int, height: int, *, multiple: int, longest: int) -> Size:
    """The size a model can make.

    Raises:
        ArtflowError: ``bad_size`` if a side is no multiple of ``multiple`` (the sentence names the nearest sizes
            that are), below two multiples, or over ``longest``.
    """
    for name, side in (("width", width), ("height", height)):
        if not 2 * multiple <= side <= longest:
            raise ArtflowError("bad_size", f"{name} {side} is not allowed: from {2 * multiple} to {longest} pixels.")
        if side % multiple:
            below = side // multiple * multiple
            raise ArtflowError(
                "bad_size",
                f"{name} {side} is not a multiple of {multiple}: the nearest are {below} and {below + multiple}.",
            )
    return Size(width, height)


def fit(picture: Picture, size: Size) -> Picture:
    """The largest centred part with the aspect of ``size``, resized to it."""
    if picture.shape[:2] == (size.height, size.width):
        return picture
    return np.asarray(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.BILINEAR))


def resized(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture or mask at another size, Lanczos; its aspect may change."""
    if picture.shape[:2] == (size.height, size.width):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def reduced(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A copy of at most ``longest`` pixels a side (`Size.within`); a smaller picture as it is."""
    size = Size(picture.shape[1], picture.shape[0])
    if size.within(longest) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size.within(longest), Image.Resampling.BICUBIC, reducing_gap=2.0))


def bands(height: int, width: int, pixels: int = BAND, least: int = 1) -> Iterator[slice]:
    """The rows of a picture, in pieces of about so many pixels, and of ``least`` rows at least."""
    step = max(least, pixels // width)
    return (slice(top, min(top + step, height)) for top in range(0, height, step))
