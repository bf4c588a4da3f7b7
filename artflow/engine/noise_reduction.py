"""Noise of a camera, averaged over time where nothing moves.

A network that draws strokes makes them out of noise, too: on a still scene they would swarm. This is the temporal noise
reduction of video encoders: each pixel goes on from what it was, the less so the more its surroundings have changed.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture

BLOCK = 4  # pixels a side over which a change is averaged, which tells motion from noise
QUIET = 3.0  # grey levels of a block up to which a change is noise; at twice as many it is motion
SHARE = 0.1  # of the new frame where all is noise


class NoiseReduction:
    """The running average of one session's frames."""

    def __init__(self) -> None:
        self._mean: NDArray[np.float32] | None = None
        self._blocks: NDArray[np.float32] = np.empty(0, np.float32)

    def apply(self, picture: Picture) -> Picture:
        """The next frame with less noise, of the same shape; one of another size than the last starts again."""
        height, width, _ = picture.shape
        size = max(1, width // BLOCK), max(1, height // BLOCK)
        frame = picture.astype(np.float32)
        blocks = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if self._mean is None or self._mean.shape != frame.shape:
            self._mean, self._blocks = frame, blocks
            return picture
        change = cv2.absdiff(blocks, self._blocks).max(axis=2)
        share = cv2.resize(np.clip(change / QUIET - 1, SHARE, 1), (width, height), interpolation=cv2.INTER_LINEAR)
        self._mean = cv2.blendLinear(frame, self._mean, share, 1 - share)
        self._blocks = cv2.resize(self._mean, size, interpolation=cv2.INTER_AREA)
        return cv2.convertScaleAbs(self._mean)
