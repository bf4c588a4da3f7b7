"""The styles: looks that anybody tells apart at a glance, made from the drawings by a few lines of arithmetic.

Two drawing sets of one design family were too much alike for words to matter. A look changes the whole picture
instead: what the drawing is, how it meets its background, and the background itself.

* ``3d``: the shaded drawing as it is. The only look that need not be named.
* ``cartoon``: louder colours inside a thick line of ink; the background keeps its colour.
* ``watercolor``: the shaded drawing in pale washes with a darker rim, on a paler background.
"""

from __future__ import annotations

import cv2
import numpy as np

LOOKS = ("3d", "cartoon", "watercolor")
PALE = 0.5  # how far watercolour fades towards paper
LOUD = 1.5  # how much further from grey a cartoon's colours are
INK, INK_WIDTH = (28, 22, 30), 7  # of a cartoon's outline, in pixels of 128


def with_white_inside(icon: np.ndarray) -> np.ndarray:
    """[h, w, 4] uint8 ink drawing whose holes are transparent -> the same with what its lines enclose filled white."""
    ink = icon[..., 3]
    outside = np.pad((ink > 90).astype(np.uint8), 1)
    cv2.floodFill(outside, None, (0, 0), 2)
    body = np.where(outside[1:-1, 1:-1] == 2, ink, 255).astype(np.uint8)
    share = ink[..., None].astype(np.float32) / np.maximum(body[..., None], 1)
    colour = 255 * (1 - share) + icon[..., :3] * share
    return np.concatenate([np.clip(colour, 0, 255).astype(np.uint8), body[..., None]], 2)


def washed(back: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    straight = colour / np.maximum(alpha, 0.15)
    rim = alpha - cv2.erode(alpha, np.ones((3, 3)))[..., None]
    thing = straight * (1 - PALE) + 255 * PALE - 70 * rim
    paper = back * (1 - PALE) + 255 * PALE
    return paper * (1 - alpha) + thing * alpha


def inked(back: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    straight = colour / np.maximum(alpha, 0.15)
    grey = straight.mean(-1, keepdims=True)
    loud = np.clip(grey + LOUD * (straight - grey), 0, 255)
    pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (INK_WIDTH, INK_WIDTH))
    line = (cv2.dilate(alpha, pen) - cv2.erode(alpha, pen))[..., None]
    return (back * (1 - alpha) + loud * alpha) * (1 - line) + np.float32(INK) * line


def compose(look: str, back: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """One thing on ``back`` [128, 128, 3] in a look; ``colour`` [128, 128, 3] is premultiplied by ``alpha`` [.., 1]."""
    if look == "cartoon":
        return inked(back, colour, alpha)
    if look == "watercolor":
        return washed(back, colour, alpha)
    return back * (1 - alpha) + colour
