"""Remove: what is painted over is gone, and the background goes on; no prompt, at any size of the picture.

MI-GAN (`artflow/models/migan.py`) fills holes at 512 x 512. So a hole is filled in windows: squares around parts of it,
with what is around them, at their own size where that is enough and made smaller where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from artflow.engine.job_request import GeneratedImage, JobProgress
from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size, flattened, from_srgb, resized, to_srgb
from artflow.job_context import Errand, JobContext, here
from artflow.modes.inpaint import Inpainting, as_clear
from artflow.modes.masks import Bounds, Mask, MaskEdge, S, check_mask, covering, feather_outside, grown, whole

MODEL = "migan"  # in recipes
SIDE = 512  # pixels a side that the network works at
CONTEXT = 128  # pixels of the picture around a part of a hole, at least
CELL = 16  # pixels a side of the grid on which parts of a hole are found
NEAR = 4  # cells within which two parts of a hole are one
THIN = 6  # cells from the middle to the edge at most: such a part is filled in pieces, however long it is
WHOLE = 768  # pixels a side at most of a picture that one window shows, a little smaller, rather than pieces of it
PIECE = (SIDE - 2 * CONTEXT) // CELL  # cells a side of a part that a window shows at its own size
AT_ONCE = 4  # windows in one call


class RemoveParams(BaseModel):
    """Parameters of remove."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    feather: int = Field(8, ge=0, le=256, title="Feather", description="pixels over which the edge is soft")
    mask_edge: MaskEdge = Field("outwards", title="Mask edge", description="where it is soft; outwards: around it")


@dataclass(frozen=True)
class Filling:
    """Where the network computes, who is told how far it is and of what (``doing``), and the event that ends it."""

    device: str = "cpu"
    errand: Errand = here
    context: JobContext = field(default_factory=JobContext)
    doing: str = "Filling, part"

    def named(self, doing: str) -> Filling:
        """The same with other words for a part."""
        return replace(self, doing=doing)

    def say(self, done: int, total: int) -> None:
        """Tell how many parts are done.

        Raises:
            Cancelled: where the work is to end.
        """
        self.context.on_progress(JobProgress(0, 1, done, total, doing=self.doing))
        if self.context.cancelled.is_set():
            raise Cancelled


def make(
    picture: NDArray[np.uint8], mask: Mask, params: RemoveParams, filling: Filling, profile: bytes | None = None
) -> list[GeneratedImage]:
    """The picture without what the mask covers, of as many channels; no byte outside of mask and feather changes.

    It comes in the colours of ``profile`` (ICC; None: sRGB) and stays in them.

    Raises:
        Cancelled: before it was made.
        ArtflowError: ``empty_mask``, ``bad_mask`` (of another size, or over everything).
    """
    check_mask(mask, picture)
    plain = flattened(picture)
    hole = grown(mask, feather_outside(params.feather, params.mask_edge))
    work = Inpainting(
        plain, mask, whole(plain), Size(mask.shape[1], mask.shape[0]), params.feather, params.mask_edge, profile
    )
    made = as_clear(picture, work, work.composite(filled(plain, hole, filling, profile)))
    facts = {"mode": "inpaint", "model": MODEL, "prompt": "", "width": picture.shape[1], "height": picture.shape[0]}
    return [GeneratedImage(made, params.model_dump() | facts, profile)]


def filled(picture: Picture, hole: Mask, filling: Filling, profile: bytes | None = None) -> Picture:
    """The picture with its hole (255) filled with what is around it; elsewhere no byte changes.

    Raises:
        Cancelled: before it was.
        ArtflowError: ``bad_mask`` where nothing is left around the hole.
    """
    if (hole > 127).all():
        sentence = "The mask covers the whole picture; leave a part of it free, which goes on over the rest."
        raise ArtflowError("bad_mask", sentence)
    picture, missing = picture.copy(), hole > 127
    parts = parts_of(missing)
    done = 0
    while parts:
        now, parts = _apart(parts, Size(hole.shape[1], hole.shape[0]))
        filling.say(done, done + len(now) + len(parts))
        _fill_round(picture, missing, now, filling, profile)
        done += len(now)
    filling.say(done, done)
    return picture


def _fill_round(
    picture: Picture, hole: NDArray[np.bool_], parts: list[Bounds], filling: Filling, profile: bytes | None
) -> None:
    """Fill these parts of the hole in one call, and close them."""
    from artflow.models.migan import fill

    windows = [window_around(part, Size(hole.shape[1], hole.shape[0])) for part in parts]
    shown = [resized(to_srgb(mirrored(picture, window), profile), Size(SIDE, SIDE)) for window in windows]
    holes = [covering(mirrored(hole, window).astype(np.uint8) * 255, Size(SIDE, SIDE)) > 0 for window in windows]
    results = filling.errand(fill, np.stack(shown), np.stack(holes), filling.device)
    for part, window, made in zip(parts, windows, results, strict=True):
        inside = Bounds(*(a - b for a, b in zip(part, (window.left, window.top) * 2, strict=True)))
        missing = part.cut(hole)
        part.cut(picture)[missing] = inside.cut(from_srgb(resized(made, window.size), profile))[missing]
    for part in parts:
        part.cut(hole)[:] = False


def window_around(part: Bounds, size: Size) -> Bounds:
    """A square around a part, with context; it reaches beyond a picture of ``size`` only where that is too small."""
    longest = max(part.size)
    side = min(max(SIDE, longest + 2 * max(CONTEXT, longest // 4)), max(size))

    def start(low: int, high: int, length: int) -> int:
        if side >= length:
            return (length - side) // 2
        return min(max((low + high - side) // 2, 0), length - side)

    left, top = start(part.left, part.right, size.width), start(part.top, part.bottom, size.height)
    return Bounds(left, top, left + side, top + side)


def mirrored(values: NDArray[S], window: Bounds) -> NDArray[S]:
    """A window of a picture or mask, with mirrored edges where it reaches beyond."""

    def indices(low: int, high: int, length: int) -> NDArray[np.intp]:
        period = max(2 * (length - 1), 1)
        at = np.abs(np.arange(low, high)) % period
        return np.minimum(at, period - at) if length > 1 else np.zeros(high - low, np.intp)

    height, width = values.shape[:2]
    rows, columns = indices(window.top, window.bottom, height), indices(window.left, window.right, width)
    return values[rows[:, None], columns]


def parts_of(hole: NDArray[np.bool_]) -> list[Bounds]:
    """The hole in parts, each for one window: what lies near each other together, and long thin strokes in pieces."""
    size = Size(hole.shape[1], hole.shape[0])
    down, across = np.arange(0, size.height, CELL), np.arange(0, size.width, CELL)
    cells = np.logical_or.reduceat(np.logical_or.reduceat(hole, down, 0), across, 1).astype(np.uint8)
    square = np.ones((2 * THIN + 1,) * 2, np.uint8)
    core = cv2.morphologyEx(np.pad(cells, THIN, mode="edge"), cv2.MORPH_OPEN, square)[THIN:-THIN, THIN:-THIN]
    core = cv2.dilate(core, square)  # with its round corners
    count, labels = cv2.connectedComponents(cv2.dilate(cells, np.ones((2 * NEAR + 1,) * 2, np.uint8)))
    shown_whole = max(size) <= WHOLE
    parts: list[Bounds] = []
    for label in range(1, count):
        mine = (labels == label) & (cells > 0)
        rows, columns = np.nonzero(mine)
        if shown_whole or max(np.ptp(rows), np.ptp(columns)) < PIECE:
            parts.append(_bounds(rows, columns, size))
            continue
        thick = mine & (core > 0)
        if thick.any():
            rows, columns = np.nonzero(thick)
            parts.append(_bounds(rows, columns, size))
        rows, columns = np.nonzero(mine & ~thick)
        grid = rows // PIECE * len(across) + columns // PIECE
        parts += [_bounds(rows[grid == place], columns[grid == place], size) for place in np.unique(grid)]
    return _joined(parts, max(size) if max(size) <= SIDE else PIECE * CELL)


def _bounds(rows: NDArray[np.intp], columns: NDArray[np.intp], size: Size) -> Bounds:
    """What these cells cover, in pixels."""
    right, bottom = (int(cells.max() + 1) * CELL for cells in (columns, rows))
    return Bounds(int(columns.min()) * CELL, int(rows.min()) * CELL, min(right, size.width), min(bottom, size.height))


def _joined(parts: list[Bounds], longest: int) -> list[Bounds]:
    """Parts that are together no longer than this, as one."""
    found: list[Bounds] = []
    for part in parts:
        for i, other in enumerate(found):
            both = Bounds(*map(min, part[:2], other[:2]), *map(max, part[2:], other[2:]))
            if max(both.size) <= longest:
                found[i] = both
                break
        else:
            found.append(part)
    return found


def _apart(parts: list[Bounds], size: Size) -> tuple[list[Bounds], list[Bounds]]:
    """Parts whose windows do not touch, for one call, and the others, which then see those filled."""
    now: list[Bounds] = []
    later: list[Bounds] = []
    for part in parts:
        window = window_around(part, size)
        free = len(now) < AT_ONCE and not any(_touch(window, window_around(other, size)) for other in now)
        (now if free else later).append(part)
    return now, later


def _touch(a: Bounds, b: Bounds) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom
