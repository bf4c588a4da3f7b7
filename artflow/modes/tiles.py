"""Processing a picture in overlapping tiles, blended without visible seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tiling:
    """Tiles of ``side`` pixels that share at least ``overlap`` with their neighbours.

    The ``trim`` pixels next to an inner edge have no weight, because a network's padding makes them wrong. In the rest
    of the overlap one tile fades into the other.
    """

    side: int = 256
    trim: int = 24
    fade: int = 8

    @property
    def overlap(self) -> int:
        """Pixels that two neighbours share."""
        return 2 * self.trim + self.fade

    def starts(self, length: int) -> list[int]:
        """Where tiles begin along a side of the picture; the last one ends where the picture does."""
        if length <= self.side:
            return [0]
        step = self.side - self.overlap
        count = -(-(length - self.overlap) // step)
        return [min(i * step, length - self.side) for i in range(count)]

    def count(self, height: int, width: int) -> int:
        """How many tiles a picture has."""
        return len(self.starts(height)) * len(self.starts(width))

    def tiles(self, picture: Picture) -> Iterator[Tile]:
        """The tiles of a picture, row by row, as `tiled` takes them."""
        height, width = picture.shape[:2]
        for y in self.starts(height):
            for x in self.starts(width):
                yield Tile(picture[y : y + self.side, x : x + self.side], (y, x))

    def weights(self, start: int, size: int, length: int, scale: int) -> Floats:
        """The weight of each row (or column) of a tile, 0 to 1; 1 at the picture's own edge."""
        at = (np.arange(size * scale, dtype=np.float32) + 0.5) / scale
        ramp = np.ones(size * scale, np.float32)
        if start > 0:
            ramp = np.minimum(ramp, (at - self.trim) / self.fade)
        if start + size < length:
            ramp = np.minimum(ramp, (size - at - self.trim) / self.fade)
        return np.clip(ramp, 0, 1)


class Tile(NamedTuple):
    """A part of a picture, and the row and column where it begins."""

    picture: Picture
    at: tuple[int, int]


def tiled(
    picture: Picture, scale: int, enlarge: Callable[[Tile], Floats], tiling: Tiling, after_tile: Callable[[], None]
) -> Picture:
    """The picture enlarged tile by tile. Holds one row of tiles in floating point, so memory is that of the result.

    Args:
        picture: any size
        scale: whole number by which ``enlarge`` enlarges
        enlarge: a tile to values from 0 to 255, ``[height * scale, width * scale, 3]``
        tiling: how large the tiles are
        after_tile: called after each tile; an exception of it ends the work
    """
    height, width = picture.shape[:2]
    result = np.empty((height * scale, width * scale, 3), np.uint8)
    rows = tiling.starts(height)
    size = min(tiling.side, height)
    band = np.zeros((size * scale, width * scale, 3), np.float32)
    total = np.zeros((size * scale, 1, 1), np.float32)
    for i, y in enumerate(rows):
        weights = tiling.weights(y, size, height, scale)[:, None, None]
        band += weights * _row(picture[y : y + size], y, scale, enlarge, tiling, after_tile)
        total += weights
        done = ((rows[i + 1] if i + 1 < len(rows) else height) - y) * scale
        result[y * scale : y * scale + done] = _rounded(band[:done] / total[:done])
        band[:-done] = band[done:] if done < len(band) else 0
        band[-done:] = 0
        total[:-done] = total[done:] if done < len(total) else 0
        total[-done:] = 0
    return result


def _row(
    strip: Picture,
    y: int,
    scale: int,
    enlarge: Callable[[Tile], Floats],
    tiling: Tiling,
    after_tile: Callable[[], None],
) -> Floats:
    """One row of tiles, blended into each other; it begins at row ``y`` of the picture."""
    height, width = strip.shape[:2]
    size = min(tiling.side, width)
    summed = np.zeros((height * scale, width * scale, 3), np.float32)
    total = np.zeros((1, width * scale, 1), np.float32)
    for x in tiling.starts(width):
        weights = tiling.weights(x, size, width, scale)[None, :, None]
        part = np.s_[:, x * scale : (x + size) * scale]
        summed[part] += weights * enlarge(Tile(strip[:, x : x + size], (y, x)))
        total[part] += weights
        after_tile()
    summed /= total
    return summed


def _rounded(values: NDArray[np.floating[Any]]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def seams(tiling: Tiling, length: int, scale: int) -> Iterator[slice]:
    """The parts of the result along one side where tiles are blended; for measuring."""
    starts = tiling.starts(length)
    for before, after in pairwise(starts):
        yield slice(after * scale, (before + tiling.side) * scale)
