"""The noise of a job's picture: drawn from its own generator, or cut out of a field that its neighbours share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from artflow.engine.image_spec import NoiseRegion

BLOCK = 64  # latents, the side of a field's blocks


class NoiseSource:
    """Noise of a seed, one draw after the other: what a picture begins with, then what its sampler adds at each step.

    With a ``region``, the n-th draw is that part of the seed's n-th field. Pictures of overlapping regions that go
    through the same steps then draw the same wherever they overlap. ``generator`` is what the other draws come from. It
    stays on the CPU, so that a seed means the same picture on every device.
    """

    def __init__(self, seed: int, region: NoiseRegion | None = None) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._seed, self._region = seed, region
        self._drawn = 0

    def draw(self, shape: Sequence[int]) -> torch.Tensor:
        """The next noise: float32 of shape (1, channels, height, width), in the CPU's memory."""
        if self._region is None:
            return torch.randn(tuple(shape), generator=self.generator)
        self._drawn += 1
        return _field((self._seed, self._drawn), shape, self._region)


def _field(key: tuple[int, int], shape: Sequence[int], region: NoiseRegion) -> torch.Tensor:
    """A part of an endless field of noise, made of blocks with generators of their own: nothing else is computed."""
    _, channels, height, width = shape
    noise = np.empty((channels, height, width), np.float32)
    for row in range(region.row // BLOCK, -(-(region.row + height) // BLOCK)):
        for column in range(region.column // BLOCK, -(-(region.column + width) // BLOCK)):
            block = np.random.default_rng((*key, row, column)).standard_normal((channels, BLOCK, BLOCK), np.float32)
            top, left = row * BLOCK - region.row, column * BLOCK - region.column  # of the block in the region
            rows, columns = slice(max(top, 0), top + BLOCK), slice(max(left, 0), left + BLOCK)
            part = noise[:, rows, columns]
            part[:] = block[:, rows.start - top :, columns.start - left :][:, : part.shape[1], : part.shape[2]]
    return torch.from_numpy(noise)[None]
