"""The styles: looks that anybody tells apart at a glance, made from the drawings by a few lines of arithmetic.

Two drawing sets of one design family were too much alike for words to matter. A look changes the whole picture
instead: what the drawing is, how it meets its background, and the background itself.

* ``3d``: the shaded drawing as it is. The only look that need not be named.
* ``sketch``: the drawing in pencil grey with dark lines; the background, as the paper, keeps its colour.
* ``watercolor``: the shaded drawing in pale washes with a darker rim, on a paler background.
"""

from __future__ import annotations

import cv2
import numpy as np

LOOKS = ("3d", "sketch", "watercolor")
PALE = 0.34  # how far watercolour fades towards paper


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
    soft = cv2.GaussianBlur(colour, (0, 0), 1.3) / np.maximum(cv2.GaussianBlur(alpha, (0, 0), 1.3), 0.15)[..., None]
    rim = alpha - cv2.erode(alpha, np.ones((3, 3)))[..., None]
    thing = soft * (1 - PALE) + 255 * PALE - 70 * rim
    paper = back * (1 - PALE) + 255 * PALE
    return paper * (1 - alpha) + thing * alpha


def pencilled(back: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    grey = (colour / np.maximum(alpha, 0.1)).mean(-1)
    lines = np.clip(cv2.GaussianBlur(grey, (0, 0), 3.0) - grey, 0, 60)  # darker than what is around it
    rim = (alpha - cv2.erode(alpha, np.ones((3, 3)))[..., None])[..., 0]
    pencil = (140 + 0.45 * grey - 2.2 * lines) * (1 - 0.8 * rim)
    return back * (1 - alpha) + np.clip(pencil, 20, 255)[..., None] * alpha


def compose(look: str, back: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """One thing on ``back`` [128, 128, 3] in a look; ``colour`` [128, 128, 3] is premultiplied by ``alpha`` [.., 1]."""
    if look == "sketch":
        return pencilled(back, colour, alpha)
    if look == "watercolor":
        return washed(back, colour, alpha)
    return back * (1 - alpha) + colour
