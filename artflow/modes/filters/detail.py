"""Filters of fine detail. Radii are in thousandths of the longer side, so a preview looks like the result."""

from __future__ import annotations

import cv2
import numpy as np

from artflow.images import Picture
from artflow.modes.filters.registry import Choice, Slider, Switch, filter_entry

GROUP = "Detail"
SHARPEST = 8.0  # pixels of a Gaussian's deviation; for wider blurs the picture is reduced first


def _sigma(picture: Picture, thousandths: float) -> float:
    return max(picture.shape[:2]) * thousandths / 1000


@filter_entry(
    "Sharpness", GROUP, amount=Slider("Amount", 0, 3, 0.8), radius=Slider("Radius, ‰", 0.2, 10, 1.5, step=0.1)
)
def sharpness(picture: Picture, amount: float, radius: float) -> Picture:
    """Unsharp masking: away from the blurred picture."""
    return _weighted(picture, 1 + amount, blur(picture, radius), -amount)


@filter_entry("Blur", GROUP, radius=Slider("Radius, ‰", 0, 60, 4, step=0.1))
def blur(picture: Picture, radius: float) -> Picture:
    """Gaussian blur."""
    sigma = _sigma(picture, radius)
    if sigma <= 0.1:
        return picture
    # A wide blur removes the detail that a smaller copy lacks, and is slow at full size.
    # (Not a narrow picture, where the replicated edges matter most.)
    height, width = picture.shape[:2]
    factor = max(1, int(sigma / SHARPEST)) if min(height, width) > 4 * sigma else 1
    small = picture
    if factor > 1:
        small = cv2.resize(picture, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE)
    return soft if factor == 1 else cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)


@filter_entry(
    "Grain", GROUP,
    amount=Slider("Amount", 0, 1, 0.25), size=Slider("Size, ‰", 0.5, 8, 1.5, step=0.1),
    coloured=Switch("Coloured"), seed=Slider("Seed", 0, 9999, 1, step=1),
)  # fmt: skip
def grain(picture: Picture, amount: float, size: float, coloured: bool, seed: int) -> Picture:
    """The grain of film: Gaussian noise, grey or in colour."""
    height, width = picture.shape[:2]
    step = max(1.0, _sigma(picture, size))
    rows, columns = max(1, round(height / step)), max(1, round(width / step))
    noise = np.empty((rows, columns, 3 if coloured else 1), np.int16)
    cv2.setRNGSeed(seed)  # OpenCV has one generator per thread
    cv2.randn(noise, (0,) * 4, (60 * amount,) * 4)  # a plain number would apply to the first channel only
    noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    return cv2.add(picture, noise if coloured else cv2.merge([noise] * 3), dtype=cv2.CV_8U)


@filter_entry(
    "Edges", GROUP,
    look=Choice("Look", ("pen", "pencil", "glow"), "pencil"), fine=Slider("Fineness", 0, 1, 0.5),
    colour=Slider("Colour of the picture", 0, 1, 0),
)  # fmt: skip
def edge(picture: Picture, look: str, fine: float, colour: float) -> Picture:
    """Outlines: pen (Canny), pencil (grey divided by its blur), or glowing lines on black (Scharr)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if look == "pen":
        lines = cv2.bitwise_not(cv2.Canny(grey, 300 - 260 * fine, 400 - 300 * fine))
    elif look == "pencil":
        soft = cv2.GaussianBlur(grey, (0, 0), max(0.5, _sigma(picture, 12 - 10 * fine)))
        lines = cv2.divide(grey, soft, scale=255)
    else:
        across, down = (cv2.Scharr(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
        lines = cv2.convertScaleAbs(cv2.magnitude(across, down), alpha=0.05 + 0.35 * fine)
    return _weighted(cv2.merge([lines] * 3), 1 - colour, picture, colour)


def _weighted(first: Picture, weight: float, second: Picture, other_weight: float) -> Picture:
    return cv2.addWeighted(first, weight, second, other_weight, 0)
