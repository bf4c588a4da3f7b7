"""The subject of a photo: where it is, to the pixel, and the same without its background.

u2netp (`artflow/models/u2netp.py`) sees 320 x 320 pixels. A guided filter brings what it says to the edges in the
photo, and the colours of soft edges are estimated anew, so that nothing of the old background is left in them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, bands, resized
from artflow.job_context import Errand, here
from artflow.modes.alpha import Alpha
from artflow.modes.masks import HEALED, blur_reach, blurred, enlarged_rows

SIDE = 320  # pixels a side that the network works at
COARSE = 640  # pixels of the longer side at which edges are learned, and colours far from them
SURE = 0.5  # what the likeliest pixel must reach
FLAT = 1e-4  # variance of grey (0 to 1) below which the filter sees no edge
LEAK = 0.06  # of alpha that is cut off at both ends, where the filter lets the photo's texture through
PURE = 4  # power of a pixel's share that it counts with; the purer it is, the more its colour tells
LEAST = 1e-5  # such weight below which nothing is known
NEAR = 6.0  # pixels, standard deviation, from which an edge's colours are refined


def subject_alpha(picture: Picture, device: str = "cpu", errand: Errand = here) -> Alpha:
    """How much of each pixel of a picture in sRGB is of its subject: ``[height, width]``, 0 to 255.

    Raises:
        ArtflowError: ``no_subject`` where nothing stands out.
    """
    from artflow.models.u2netp import load, saliency

    errand(load, device, long=True)
    likely: NDArray[np.float32] = errand(saliency, resized(picture, Size(SIDE, SIDE)), device)
    if likely.max() < SURE:
        raise ArtflowError("no_subject", "Nothing stands out in this picture as its subject.")
    size = Size(picture.shape[1], picture.shape[0])
    small = size.within(COARSE)
    grey = cv2.cvtColor(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) / np.float32(255)
    slope, level = _guided(grey, cv2.resize(likely, small, interpolation=cv2.INTER_LINEAR))
    alpha = np.empty((size.height, size.width), np.uint8)
    for rows in bands(size.height, size.width):
        fine = cv2.cvtColor(np.ascontiguousarray(picture[rows]), cv2.COLOR_RGB2GRAY) / np.float32(255)
        value = enlarged_rows(slope, size, rows) * fine + enlarged_rows(level, size, rows)
        alpha[rows] = np.rint(((value - LEAK) / (1 - 2 * LEAK)).clip(0, 1) * 255)
    return alpha


def _guided(guide: NDArray[np.float32], values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The guided filter (He et al., 2013): the line from guide to values around each pixel, as slope and level."""
    side = 2 * max(2, max(guide.shape) // 160) + 1

    def mean(of: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.blur(of, (side, side), borderType=cv2.BORDER_REFLECT)

    slope = (mean(guide * values) - mean(guide) * mean(values)) / (mean(guide * guide) - mean(guide) ** 2 + FLAT)
    return mean(slope), mean(mean(values) - slope * mean(guide))


def cut_out(picture: Picture, alpha: Alpha) -> NDArray[np.uint8]:
    """The picture with this alpha, of 4 channels, its colours those of the subject alone.

    Where alpha is 255 no byte of a colour changes. Elsewhere the photo shows subject and background mixed; the part of
    the subject is estimated from its surroundings, far ones first (blur fusion; Forte, 2021).
    """
    size = Size(picture.shape[1], picture.shape[0])
    small = size.within(COARSE)
    seen, opaque = (cv2.resize(one, small, interpolation=cv2.INTER_AREA).astype(np.float32) for one in (picture, alpha))
    front, back = _apart(seen, seen, seen, opaque[..., None] / 255, max(small) / 12)
    margin = blur_reach(NEAR)
    result = np.dstack([picture, alpha])
    for rows in bands(size.height, size.width, HEALED, least=2 * margin):
        top = max(rows.start - margin, 0)
        wide = slice(top, min(rows.stop + margin, size.height))
        share = (alpha[wide, :, None] / 255).astype(np.float32)
        in_front, behind = (enlarged_rows(one, size, wide) for one in (front, back))
        colours, _ = _apart(picture[wide].astype(np.float32), in_front, behind, share, NEAR)
        colours = np.rint(colours[rows.start - top : rows.stop - top]).astype(np.uint8)
        result[rows, :, :3] = np.where(alpha[rows, :, None] < 255, colours, picture[rows])
    return result


def _apart(
    seen: NDArray[np.float32],
    front: NDArray[np.float32],
    back: NDArray[np.float32],
    share: NDArray[np.float32],
    reach: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Better guesses of the colours in front and behind, from those within ``reach`` and what is seen of both."""
    front, back = _spread(front, share**PURE, reach), _spread(back, (1 - share) ** PURE, reach)
    rest = seen - share * front - (1 - share) * back
    return (front + share * rest).clip(0, 255), back


def _spread(colours: NDArray[np.float32], weight: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Colours as those around them that have weight; as they are where none has."""
    total = blurred(weight, reach).reshape(weight.shape)  # OpenCV drops a single channel
    return np.where(total > LEAST, blurred(colours * weight, reach) / np.maximum(total, np.float32(LEAST)), colours)
