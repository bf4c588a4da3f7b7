"""What somebody without a steady hand would paint of a thing: a few filled shapes, each a bit wrong.

A drawing is parted into its largest patches of one colour, and their outlines into few corners. A doodle fills those
outlines with wobbling corners, moved and resized each on its own, in the nearest colour of a small paint box, and
leaves the smallest patches out. Nothing of the drawing's shading, edges or exact colours is left.
"""

from __future__ import annotations

import random

import cv2
import numpy as np

from training.common import IMAGE_SIZE

PARTS = 6
PAINTS = np.float32([
    (25, 25, 25), (255, 255, 255), (128, 128, 128), (190, 190, 190), (225, 40, 40), (250, 130, 30), (255, 220, 50),
    (60, 170, 60), (30, 100, 40), (60, 130, 230), (130, 200, 250), (25, 45, 130), (140, 70, 180), (250, 150, 190),
    (130, 80, 45), (240, 200, 150),
])  # fmt: skip
Part = tuple[np.ndarray, np.ndarray]  # corners [n, 2] as fractions of the drawing, and their paint [3]


def _outlines(mask: np.ndarray, roughness: float) -> list[tuple[float, np.ndarray]]:
    """(area, corners [n, 2]) of a [h, w] uint8 mask's islands, simplified by ``roughness`` pixels."""
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    out = [(cv2.contourArea(c), cv2.approxPolyDP(c, roughness, True)[:, 0]) for c in found]
    return [(area, corners.astype(np.float32)) for area, corners in out if len(corners) > 2]


def parts_of(icon: np.ndarray) -> list[Part]:
    """The whole outline first, then up to ``PARTS`` - 1 patches of one paint, the largest first."""
    alpha = (icon[..., 3] > 110).astype(np.uint8)
    paint = np.linalg.norm(icon[..., None, :3].astype(np.float32) - PAINTS, axis=-1).argmin(-1)
    paint = cv2.medianBlur(paint.astype(np.uint8), 5)
    counts = np.bincount(paint[alpha > 0], minlength=len(PAINTS))
    common = int(counts.argmax())
    parts = [(area, corners, PAINTS[common]) for area, corners in _outlines(alpha, 3.0)]
    for index in counts.argsort()[::-1][:5]:
        if index != common:
            parts += [
                (area, corners, PAINTS[index])
                for area, corners in _outlines(((paint == index) & (alpha > 0)).astype(np.uint8), 2.5)
                if area > 0.004 * alpha.size
            ]
    parts.sort(key=lambda part: -part[0])
    return [(corners / icon.shape[0], colour) for _, corners, colour in parts[:PARTS]]


class Doodler:
    """Doodles of the things in ``icons`` {(set, icon): [128, 128, 4] uint8}, from their flat drawings."""

    def __init__(self, icons: dict[tuple[str, str], np.ndarray]) -> None:
        self.icons = icons
        self.parts: dict[str, list[Part]] = {}

    def draw(
        self, icon: str, x: float, y: float, side: float, flip: bool, rng: random.Random
    ) -> tuple[np.ndarray, np.ndarray]:
        """Premultiplied colour [128, 128, 3] and alpha [128, 128, 1], centred at (x, y), ``side`` wide (fractions)."""
        if icon not in self.parts:
            self.parts[icon] = parts_of(self.icons["flat", icon])
        canvas = np.zeros((IMAGE_SIZE, IMAGE_SIZE, 4), np.float32)
        wobble = rng.uniform(0.008, 0.024)
        for number, (corners, paint) in enumerate(self.parts[icon]):
            if number > 1 and rng.random() < 0.2:
                continue
            noise = np.random.default_rng(rng.getrandbits(32))
            middle = corners.mean(0)
            shape = middle + (corners - middle) * noise.uniform(0.8, 1.2, 2) + noise.normal(0, wobble, corners.shape)
            shape = shape + noise.normal(0, 0.03, 2) - 0.5
            if flip:
                shape[:, 0] *= -1
            points = np.round((shape * side + (x, y)) * IMAGE_SIZE).astype(np.int32)
            colour = [float(v) for v in np.clip(paint + noise.normal(0, 16), 0, 255)]
            cv2.fillPoly(canvas, [points], (*colour, 1.0), cv2.LINE_AA)
        return canvas[..., :3] * canvas[..., 3:], canvas[..., 3:]
