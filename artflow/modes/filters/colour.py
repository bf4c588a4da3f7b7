"""Filters of colour."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from artflow.images import Picture
from artflow.modes.filters.registry import Slider, filter_entry

GROUP = "Colour"


@filter_entry("Saturation", GROUP, amount=Slider("Saturation", -1, 1, 0.3))
def saturation(picture: Picture, amount: float) -> Picture:
    """Paler (-1: grey) or more colourful."""
    return np.asarray(ImageEnhance.Color(Image.fromarray(picture)).enhance(1 + amount))


@filter_entry("Hue", GROUP, angle=Slider("Turn, degrees", -180, 180, 30, step=1))
def hue(picture: Picture, angle: int) -> Picture:
    """Rotates the hue of all colours."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL)
    turn = np.uint8(round(angle / 360 * 256) % 256)
    hsv[..., 0] += turn  # the hue circle has 256 steps, so a byte's overflow wraps around
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


@filter_entry(
    "Temperature", GROUP, warmth=Slider("Cold to warm", -1, 1, 0.3), tint=Slider("Green to magenta", -1, 1, 0)
)
def temperature(picture: Picture, warmth: float, tint: float) -> Picture:
    """A shift along the two colour axes of CIELAB; lightness stays."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    return cv2.cvtColor(cv2.add(lab, (0.0, 40 * tint + 10 * warmth, 40 * warmth, 0.0)), cv2.COLOR_LAB2RGB)


@filter_entry("Black and white", GROUP, amount=Slider("Amount", 0, 1, 1))
def black_and_white(picture: Picture, amount: float) -> Picture:
    """Grey, wholly or in part."""
    return _towards(picture, ImageOps.grayscale(Image.fromarray(picture)).convert("RGB"), amount)


@filter_entry("Sepia", GROUP, amount=Slider("Amount", 0, 1, 0.8))
def sepia(picture: Picture, amount: float) -> Picture:
    """The browns of an old photograph."""
    grey = ImageOps.grayscale(Image.fromarray(picture))
    return _towards(picture, ImageOps.colorize(grey, "#1a0f08", "#fff4dc", mid="#9a7650"), amount)


@filter_entry("Invert", GROUP, amount=Slider("Amount", 0, 1, 1))
def invert(picture: Picture, amount: float) -> Picture:
    """The negative."""
    return _towards(picture, ImageOps.invert(Image.fromarray(picture)), amount)


@filter_entry("Posterize", GROUP, bits=Slider("Bits a channel", 1, 7, 3, step=1))
def posterize(picture: Picture, bits: int) -> Picture:
    """Few levels of each channel, as in a poster."""
    return np.asarray(ImageOps.posterize(Image.fromarray(picture), bits))


def _towards(picture: Picture, other: Image.Image, amount: float) -> Picture:
    return np.asarray(Image.blend(Image.fromarray(picture), other, amount))
