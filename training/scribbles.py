"""What the ControlNet reads: a picture's lines, white on black, as a detector finds them or as somebody draws them.

A detector's lines are where the edges are, one to three pixels wide. A hand's are pulled aside by a pixel or two,
thicker, here and there interrupted, and short ones are left out. All maps are [128, 128] uint8.
"""

from __future__ import annotations

import random

import cv2
import numpy as np

from training.common import IMAGE_SIZE

SHORTEST = 20  # pixels of a line that a hand still draws
BLANK, BY_HAND = 0.04, 0.48  # shares of the maps that training sees


def edges(picture: np.ndarray, low: int = 40, high: int = 110, blur: float = 1.2) -> np.ndarray:
    """Canny's edges of any colour channel of [h, w, 3] uint8, 0 or 255, one pixel wide, after a blur of ``blur`` px."""
    soft = cv2.GaussianBlur(picture, (0, 0), blur)
    return np.maximum.reduce([cv2.Canny(np.ascontiguousarray(soft[..., i]), low, high) for i in range(3)])


def pen(width: int) -> np.ndarray:
    """A round pen's mark, for ``cv2.dilate``."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))


def by_hand(found: np.ndarray, rng: random.Random) -> np.ndarray:
    """An edge map drawn again by an unsteady hand."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found, connectivity=8)
    long = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= SHORTEST)
    kept = np.isin(labels, long[long > 0]).astype(np.uint8) * 255 if count > 1 else found
    noise = np.random.default_rng(rng.getrandbits(32))
    coarse = noise.normal(0, rng.uniform(0.5, 1.6), (2, 7, 7)).astype(np.float32)
    dx, dy = (cv2.resize(c, found.shape[::-1], interpolation=cv2.INTER_CUBIC) for c in coarse)
    y, x = np.mgrid[: found.shape[0], : found.shape[1]].astype(np.float32)
    thick = cv2.dilate(kept, pen(rng.choice([2, 3, 3, 4])))
    drawn = cv2.remap(thick, x + dx, y + dy, cv2.INTER_LINEAR)
    for _ in range(rng.choice([0, 0, 1, 2, 4])):
        centre = (rng.randrange(IMAGE_SIZE), rng.randrange(IMAGE_SIZE))
        cv2.circle(drawn, centre, rng.randint(3, 9), 0, -1)
    return drawn


def scribble(picture: np.ndarray, rng: random.Random) -> np.ndarray:
    """A map as training sees it: sometimes blank, half a hand's, else a detector's at thresholds that vary."""
    kind = rng.random()
    if kind < BLANK:
        return np.zeros(picture.shape[:2], np.uint8)
    low = rng.uniform(25, 70)
    found = edges(picture, int(low), int(low * rng.uniform(2, 3)), rng.uniform(0.8, 1.6))
    if kind < BLANK + BY_HAND:
        return by_hand(found, rng)
    lines = cv2.dilate(found, pen(rng.choice([1, 1, 2, 3])))
    return cv2.GaussianBlur(lines, (0, 0), 0.6) if rng.random() < 0.25 else lines
