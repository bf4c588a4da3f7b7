"""Maps of pictures, by which networks steer (`artflow.models.control`): lines, colours, and what annotators find.

All take and give ``uint8`` of shape (height, width, 3), and the map has the picture's size. The parameters are those of
Stable Diffusion web UI's extension, with which the networks are used. Called in the person's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from artflow.engine.control_unit import ControlPicture, ControlUnit
from artflow.images import Picture
from artflow.models.control_catalog import load_controls
from artflow.modes.annotators import annotated

COLOUR_CELLS = 64  # pixels a side of the cells of one colour


def control_pictures(picture: Picture, units: Sequence[ControlUnit]) -> tuple[ControlPicture, ...]:
    """Each control with its map of the picture.

    Raises:
        ArtflowError: ``unknown_control``; ``not_installed`` or ``download_failed`` of an annotator.
    """
    return tuple(ControlPicture(unit, control_map(picture, unit)) for unit in units)


def control_map(picture: Picture, unit: ControlUnit) -> Picture:
    """The map of a picture; raises as `control_pictures` does."""
    name = load_controls().get(unit.kind).preprocess if unit.preprocess == "auto" else unit.preprocess
    if name in ("none", "tile"):  # tile: the picture itself is the map
        return picture
    if (drawn := DRAWN.get(name)) is not None:
        return drawn(picture)
    return annotated(picture, name)


def canny(picture: Picture) -> Picture:
    """Edges as lines of one pixel."""
    return _grey(cv2.Canny(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 100, 200))


def scribble(picture: Picture) -> Picture:
    """Bold lines where the picture is darker than around (a difference of Gaussians); of a drawing its strokes."""
    darker = _darker_than_around(picture, 5.0, cv2.GaussianBlur(picture, (0, 0), 0.5))
    return _grey(np.where(2 * darker > 32, 255, 0).astype(np.uint8))


def lineart(picture: Picture) -> Picture:
    """Fine lines, as dark as they are in the picture, with even strength from picture to picture."""
    darker = _darker_than_around(picture, 6.0, picture)
    clear = darker[darker > 8]
    usual = max(16.0, float(np.median(clear)) if clear.size else 16.0)
    return _grey((darker / usual * 127).clip(0, 255).astype(np.uint8))


def softedge(picture: Picture) -> Picture:
    """How steep the picture is (Sobel), softened: 255 at its steepest places."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 1.5).astype(np.float32)
    steep = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    most = max(float(np.percentile(steep, 99.5)), 40.0)  # a plain picture's noise is no edge
    return _grey((steep / most * 255).clip(0, 255).astype(np.uint8))


def colours(picture: Picture) -> Picture:
    """Cells of one colour each."""
    height, width = picture.shape[:2]
    cells = max(1, width // COLOUR_CELLS), max(1, height // COLOUR_CELLS)
    small = cv2.resize(picture, cells, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


DRAWN: dict[str, Callable[[Picture], Picture]] = {
    "canny": canny,
    "scribble": scribble,
    "lineart": lineart,
    "softedge": softedge,
    "color": colours,
}
"""What OpenCV makes at once."""


def _darker_than_around(picture: Picture, sigma: float, here: Picture) -> np.ndarray:
    around = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma)
    return np.min(around - here.astype(np.float32), axis=2).clip(0, 255)


def _grey(values: np.ndarray) -> Picture:
    return np.repeat(values[..., None], 3, axis=2)
