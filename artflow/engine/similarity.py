"""The similar-image filter: a frame like the last one that passed is not worth a model call.

The stochastic filter of StreamDiffusion (2312.12491, section 3.5), decided on a small grey copy on the CPU before
anything is uploaded. The measure is global SSIM in place of cosine similarity, which cannot see brightness.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artflow.images import Picture

SIDE = 64
C1, C2 = 0.01**2, 0.03**2  # SSIM's constants for values of 0 to 1


def thumbnail(picture: Picture) -> NDArray[np.float32]:
    """A grey copy, float32 of shape (SIDE, SIDE), 0 to 1."""
    small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small.convert("L"), np.float32) / np.float32(255)


def similarity(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """SSIM over the whole of two thumbnails: 1 is equal; brightness, contrast and structure all lower it.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, equation 13.
    """
    mean_a, mean_b = float(a.mean()), float(b.mean())
    covariance = float(((a - mean_a) * (b - mean_b)).mean())
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance * (2 * covariance + C2) / (float(a.var()) + float(b.var()) + C2)


class SimilarityFilter:
    """Decides frame by frame for one session. Not thread-safe: one submitter at a time.

    ``depth`` is how many frames a stream takes in before the first of them is shown: where that many steps are
    pipelined, a change is followed by ``depth - 1`` frames that pass, or it would stay inside.
    """

    def __init__(self, threshold: float, max_skip_frame: int, seed: int = 0, *, depth: int = 1) -> None:
        self.threshold = threshold
        self.max_skip_frame = max_skip_frame
        self.depth = depth
        self._random = random.Random(seed)
        self._passed: NDArray[np.float32] | None = None
        self._skipped = 0
        self._following = 0  # frames that still have to pass to push the last change out

    def passes(self, picture: Picture) -> bool:
        """Whether this frame is worth a model call.

        The chance of skipping rises from 0 at ``threshold`` to 1 at equality; after ``max_skip_frame`` skips in a
        row the next frame passes.
        """
        current = thumbnail(picture)
        alike = 0.0 if self._passed is None else similarity(self._passed, current)
        if self._passed is None or alike < self.threshold:
            self._following = self.depth - 1
        elif self._following > 0:
            self._following -= 1
        elif self._skipped < self.max_skip_frame and self.threshold < 1:
            chance = 1 - (1 - alike) / (1 - self.threshold)
            if self._random.random() < chance:
                self._skipped += 1
                return False
        self._passed, self._skipped = current, 0
        return True

    def replaced(self, frames: int) -> None:
        """So many frames that passed were replaced by newer ones before they were begun: others must push instead."""
        self._following = min(self._following + frames, self.depth - 1)

    def forget(self) -> None:
        """Take the next frame for a change: something else than the picture has changed."""
        self._passed, self._skipped = None, 0
