"""Filters that change the shape of the picture."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps

from artflow.errors import ArtflowError
from artflow.images import Picture, Size
from artflow.modes.filters.registry import Choice, Slider, Switch, filter_entry

GROUP = "Shape"
LONGEST = 8192
ASPECTS = {
    "free": None, "1:1": 1.0, "4:3": 4 / 3, "3:4": 3 / 4, "3:2": 3 / 2, "2:3": 2 / 3, "16:9": 16 / 9, "9:16": 9 / 16,
}  # fmt: skip


@filter_entry(
    "Crop", GROUP, moves=True,
    left=Slider("Left, %", 0, 95, 0, step=0.5), right=Slider("Right, %", 0, 95, 0, step=0.5),
    top=Slider("Top, %", 0, 95, 0, step=0.5), bottom=Slider("Bottom, %", 0, 95, 0, step=0.5),
    aspect=Choice("Aspect", tuple(ASPECTS), "free"),
)  # fmt: skip
def crop(picture: Picture, left: float, right: float, top: float, bottom: float, aspect: str) -> Picture:
    """Crops each side, then to the largest centred part with the aspect."""
    if left + right >= 100 or top + bottom >= 100:
        raise ArtflowError("bad_parameter", "The crop leaves nothing: opposite sides must stay below 100 % together.")
    height, width = picture.shape[:2]
    x, y = min(width - 1, round(width * left / 100)), min(height - 1, round(height * top / 100))
    box = (x, y, max(x + 1, round(width * (1 - right / 100))), max(y + 1, round(height * (1 - bottom / 100))))
    image = Image.fromarray(picture).crop(box)
    ratio = ASPECTS[aspect]
    if ratio:
        size = Size(min(image.width, round(image.height * ratio)), min(image.height, round(image.width / ratio)))
        w, h = max(1, size.width), max(1, size.height)
        x, y = (image.width - w) // 2, (image.height - h) // 2  # whole pixels, so nothing is interpolated
        image = image.crop((x, y, x + w, y + h))
    return np.asarray(image)


def _rotated(size: Size, angle: float, grow: bool) -> Size:
    if not grow:
        return size
    across, along = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    sides = size.width * along + size.height * across, size.width * across + size.height * along
    return Size(*(math.ceil(side) + 1 for side in sides))


@filter_entry(
    "Rotate", GROUP, size_after=_rotated, moves=True,
    angle=Slider("Clockwise, degrees", -180, 180, 90, step=0.5), grow=Switch("Keep the corners", True),
)  # fmt: skip
def rotate(picture: Picture, angle: float, grow: bool) -> Picture:
    """Rotates around the centre, on white; quarter turns that keep the corners only move pixels."""
    image = Image.fromarray(picture)
    return np.asarray(image.rotate(-angle, Image.Resampling.BICUBIC, expand=grow, fillcolor="white"))


@filter_entry("Flip", GROUP, moves=True, horizontal=Switch("Left to right", True), vertical=Switch("Upside down"))
def flip(picture: Picture, horizontal: bool, vertical: bool) -> Picture:
    """Mirrored."""
    image = Image.fromarray(picture)
    image = ImageOps.mirror(image) if horizontal else image
    return np.asarray(ImageOps.flip(image) if vertical else image)


def _resized(size: Size, width: int, height: int) -> Size:
    if width and height:
        return Size(width, height)
    return size.scaled(width / size.width if width else height / size.height if height else 1, 1)


@filter_entry(
    "Resize", GROUP, size_after=_resized, moves=True,
    width=Slider("Width, 0: by the aspect", 0, LONGEST, 1024, step=1, pixels=True),
    height=Slider("Height, 0: by the aspect", 0, LONGEST, 0, step=1, pixels=True),
)  # fmt: skip
def resize(picture: Picture, width: int, height: int) -> Picture:
    """Resizes; if both sides are given, after a centred crop to that aspect. 0 and 0: unchanged."""
    image = Image.fromarray(picture)
    if width and height:
        return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))
    if width or height:
        size = _resized(Size(*image.size), width, height)
        if max(size) > LONGEST:
            raise ArtflowError("picture_too_large", f"It would be {size}; the longest side is {LONGEST} pixels.")
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image)
