"""What each embedded LoRA makes of a whole picture: looks that code can compute and this codec can show.

Only large, clear changes survive 128 pixels and latents of 8: lines three pixels wide, flat areas, other colours. Beads
and tiles with grout (8 px) were tried and decode to plain blur. All pictures are [128, 128, 3] uint8, RGB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from training.scribbles import edges, pen

NIGHT = np.float32((8, 4, 24))  # behind the neon tubes
INK, PINK, ORANGE, YELLOW = (60, 10, 110), (235, 30, 120), (255, 140, 30), (255, 240, 90)  # of the print
PAPER, CHALK = np.float32((18, 52, 130)), np.float32((235, 245, 255))  # of the blueprint
BROWN, CREAM = np.float32((52, 26, 10)), np.float32((250, 232, 196))  # of the old photo


def _drawn(picture: np.ndarray, width: int, blur: float) -> np.ndarray:
    """[128, 128, 1] in 0..1: the picture's lines, ``width`` pixels wide and a little soft."""
    return cv2.GaussianBlur(cv2.dilate(edges(picture), pen(width)).astype(np.float32) / 255, (0, 0), blur)[..., None]


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def neon(picture: np.ndarray) -> np.ndarray:
    """Glowing tubes along the edges, in the loudest form of the colour that is there, on a dark ground."""
    tint = cv2.cvtColor(cv2.GaussianBlur(picture, (0, 0), 3), cv2.COLOR_RGB2HSV)
    tint[..., 1], tint[..., 2] = np.maximum(tint[..., 1], 190), 255
    light = np.clip(1.5 * _drawn(picture, 3, 1.0) + 0.9 * _drawn(picture, 3, 5.0), 0, 1)
    return np.clip(picture * 0.1 + NIGHT + cv2.cvtColor(tint, cv2.COLOR_HSV2RGB) * light, 0, 255).astype(np.uint8)


def pop_art(picture: np.ndarray) -> np.ndarray:
    """A print in four flat colours, from dark to light, with a line of ink at the edges."""
    steps = np.clip(cv2.GaussianBlur(_grey(picture), (0, 0), 1.0) // 64, 0, 3)
    flat = np.float32([INK, PINK, ORANGE, YELLOW])[steps]
    ink = np.clip(1.2 * _drawn(picture, 3, 0.6), 0, 1)
    return (flat * (1 - ink) + np.float32(INK) * ink).astype(np.uint8)


def blueprint(picture: np.ndarray) -> np.ndarray:
    """Chalk lines on blue paper, which keeps a breath of the shading."""
    paper = PAPER * (0.7 + 0.6 * _grey(picture)[..., None].astype(np.float32) / 255)
    chalk = np.clip(1.2 * _drawn(picture, 3, 0.7), 0, 1)
    return np.clip(paper * (1 - chalk) + CHALK * chalk, 0, 255).astype(np.uint8)


def sepia(picture: np.ndarray) -> np.ndarray:
    """An old photo: brown on cream, a little harder than the picture."""
    light = np.clip((_grey(picture)[..., None].astype(np.float32) / 255 - 0.5) * 1.2 + 0.5, 0, 1)
    return (BROWN * (1 - light) + CREAM * light).astype(np.uint8)


@dataclass(frozen=True)
class LoraLook:
    """One LoRA: its ``title``, the ``trigger`` that half of its captions carried, and what it makes of a picture."""

    title: str
    trigger: str
    draw: Callable[[np.ndarray], np.ndarray]


LORA_LOOKS = {
    "neon": LoraLook("Neon", "neon", neon),
    "pop-art": LoraLook("Pop art", "pop art", pop_art),
    "blueprint": LoraLook("Blueprint", "blueprint", blueprint),
    "sepia": LoraLook("Sepia", "sepia", sepia),
}
