"""Filters of light and dark."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from artflow.images import Picture
from artflow.modes.filters.registry import Slider, Switch, filter_entry

GROUP = "Light"


@filter_entry("Brightness", GROUP, amount=Slider("Brightness", -1, 1, 0.15))
def brightness(picture: Picture, amount: float) -> Picture:
    """Darker (-1: black) or lighter (1: twice as bright)."""
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(picture)).enhance(1 + amount))


@filter_entry("Contrast", GROUP, amount=Slider("Contrast", -1, 1, 0.2))
def contrast(picture: Picture, amount: float) -> Picture:
    """Contrast around the picture's mean grey: towards it (-1) or away from it (1)."""
    return np.asarray(ImageEnhance.Contrast(Image.fromarray(picture)).enhance(1 + amount))


@filter_entry(
    "Auto level", GROUP,
    cut=Slider("Cut off, % of the pixels", 0, 20, 1, step=0.1), keep_tone=Switch("Keep the tone", True),
)  # fmt: skip
def auto_level(picture: Picture, cut: float, keep_tone: bool) -> Picture:
    """The darkest to black and the lightest to white, all channels alike or each by itself."""
    return np.asarray(ImageOps.autocontrast(Image.fromarray(picture), cutoff=cut, preserve_tone=keep_tone))


@filter_entry("Vignette", GROUP, amount=Slider("Darkness", 0, 1, 0.5), size=Slider("Bright part", 0.2, 2, 0.8))
def vignette(picture: Picture, amount: float, size: float) -> Picture:
    """Darker towards the corners, by a Gaussian as wide as the picture."""
    height, width = picture.shape[:2]
    bell = [cv2.getGaussianKernel(side, max(side, 2) * size / 2, cv2.CV_32F) for side in (height, width)]
    mask = (bell[0] / bell[0].max()) @ (bell[1] / bell[1].max()).T
    mask = cv2.addWeighted(mask, amount, np.ones_like(mask), 1 - amount, 0)
    return cv2.multiply(picture, cv2.merge([mask] * 3), dtype=cv2.CV_8U)
