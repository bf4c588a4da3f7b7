"""Upscale: a picture 2, 3, 4 or 8 times as large, in tiles, with progress and cancel.

Upscalers: ``lanczos``; ``span``, the embedded network; and any ESRGAN-class ``.safetensors``, in ``models/upscalers/``
or on the Hub (``owner/name/file.safetensors``), which the package ``spandrel`` reads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size, resized
from artflow.job_context import Errand, here
from artflow.models import upscaler as upscaler_networks
from artflow.models.hub import OnProgress, download_file
from artflow.models.progress import no_progress
from artflow.modes.alpha import as_picture, joined, split, within_neighbours
from artflow.modes.tiles import Floats, Tile, Tiling, tiled

FACTORS = (2, 3, 4, 8)
FOLDER = Path(__file__).parents[2] / "models" / "upscalers"
BUILT_IN = {"span": "SPAN (ships with the app)", "lanczos": "Lanczos (no network)"}
LONGEST = 8192
MOST_PIXELS = 36_000_000
HUB_FILE = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)/((?:[\w-][\w.-]*/)*[\w-][\w.-]*\.safetensors)")
LARGEST_FILE = 400_000_000  # bytes of a file of the Hub ...
MOST_FILES = 16  # ... and how many are downloaded until a restart, since any user may name one


def upscalers() -> dict[str, str]:
    """The upscalers available now: id to title. Files are listed by their name without the ending."""
    found = dict(BUILT_IN)
    if FOLDER.is_dir():
        found |= {path.stem: path.stem for path in sorted(FOLDER.glob("*.safetensors")) if path.stem not in found}
    return found


def upscale(
    picture: NDArray[np.uint8],
    factor: int,
    upscaler: str = "span",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: threading.Event | None = None,
    *,
    device: str = "cpu",
    errand: Errand = here,
    tiling: Tiling | None = None,
) -> NDArray[np.uint8] | None:
    """The picture enlarged, or None when cancelled, which takes effect after the present tile.

    Args:
        picture: of 3 or 4 channels, any size whose result fits the limits; alpha is enlarged as the colours are
        factor: 2, 3, 4 or 8
        upscaler: an id of `upscalers`
        on_progress: told how many tiles are done, of how many
        cancelled: set to end it
        device: where networks run
        errand: runs one tile where the device is
        tiling: how large tiles are; None for tiles that suit any memory

    Raises:
        ArtflowError: ``bad_parameter``, ``picture_too_large``, ``unknown_upscaler``, ``not_installed``,
            ``bad_upscaler``.
    """
    size = enlarged_size(picture, factor)
    stop = cancelled or threading.Event()
    tiling = tiling or Tiling()
    path = fetch(upscaler)
    scales = [] if upscaler == "lanczos" else chain(factor, errand(upscaler_networks.scales, path, device, long=True))
    colours, alpha = split(picture)
    layers = [colours] if alpha is None else [colours, as_picture(alpha)]
    total = len(layers) * sum(_counts(picture, scales, tiling)) + 1  # the last one is the final resize by Lanczos
    done = 0

    def after_tile() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)
        if stop.is_set():
            raise Cancelled

    def larger(layer: Picture) -> Picture:
        for scale in scales:
            if stop.is_set():
                raise Cancelled

            def enlarged(tile: Tile, scale: int = scale) -> Floats:
                values: Floats = errand(upscaler_networks.enlarge, path, scale, device, tile.picture)
                return values

            layer = tiled(layer, scale, enlarged, tiling, after_tile)
        return resized(layer, size)

    try:
        on_progress(0, total)
        finished = [larger(layer) for layer in layers]
    except Cancelled:
        return None
    on_progress(total, total)
    return joined(finished[0], None if alpha is None else within_neighbours(finished[1], alpha))


def enlarged_size(picture: NDArray[np.uint8], factor: Any) -> Size:
    """The size that a picture will have.

    Raises:
        ArtflowError: ``bad_parameter``, ``picture_too_large``.
    """
    if factor not in FACTORS:
        allowed = ", ".join(map(str, FACTORS))
        raise ArtflowError("bad_parameter", f"factor cannot be {str(factor)[:40]}; allowed are {allowed}.")
    height, width = picture.shape[:2]
    if not _fits(width, height, factor):
        possible = [f for f in FACTORS if _fits(width, height, f)]
        hint = f"up to {possible[-1]} times is possible" if possible else "it is large enough already"
        limits = f"over {LONGEST} pixels a side or {MOST_PIXELS} in all"
        raise ArtflowError("picture_too_large", f"{factor} times {Size(width, height)} would be {limits}; {hint}.")
    return Size(width * factor, height * factor)


def _fits(width: int, height: int, factor: int) -> bool:
    return max(width, height) * factor <= LONGEST and width * height * factor**2 <= MOST_PIXELS


def _counts(picture: Picture, scales: list[int], tiling: Tiling) -> list[int]:
    height, width = picture.shape[:2]
    counts = []
    for scale in scales:
        counts.append(tiling.count(height, width))
        height, width = height * scale, width * scale
    return counts


def chain(factor: int, available: Sequence[int]) -> list[int]:
    """The scales of the networks to run one after the other; Lanczos follows where they miss or exceed ``factor``.

    A single network may exceed it (3 is 4, then reduced); a chain may not, since its cost grows with the square.
    """
    enough = [scale for scale in sorted(available) if scale >= factor]
    if enough:
        return [enough[0]]
    steps, rest = [], float(factor)
    while usable := [scale for scale in sorted(available) if 1 < scale <= rest]:
        steps.append(usable[-1])
        rest /= usable[-1]
    return steps or [max(available)]


def check_upscaler(upscaler: Any) -> None:
    """Refuse an unknown upscaler.

    Raises:
        ArtflowError: ``unknown_upscaler``, naming those there are.
    """
    known = upscalers()
    if not isinstance(upscaler, str) or not (upscaler in known or HUB_FILE.fullmatch(upscaler)):
        sentence = f"There is no upscaler {str(upscaler)[:60]!r}; there are: {', '.join(known)}"
        raise ArtflowError("unknown_upscaler", f"{sentence}, and files of the Hub: owner/name/file.safetensors.")


_fetched: set[str] = set()  # or on their way
_fetching = threading.Lock()


def fetch(upscaler: str, on_progress: OnProgress = no_progress) -> Path | None:
    """The file of an upscaler, downloaded if it is on the Hub; None for the built-in ones.

    Raises:
        ArtflowError: ``unknown_upscaler``, ``download_failed``, ``too_many_downloads``.
    """
    check_upscaler(upscaler)
    if on_the_hub := HUB_FILE.fullmatch(upscaler):
        with _fetching:  # two at once would both find the last place free
            new = upscaler not in _fetched
            if new and len(_fetched) >= MOST_FILES:
                sentence = f"{MOST_FILES} upscalers of the Hub have been fetched; restart the app to fetch others."
                raise ArtflowError("too_many_downloads", sentence)
            _fetched.add(upscaler)
        try:
            return download_file(*on_the_hub.groups(), largest=LARGEST_FILE, on_progress=on_progress)
        except ArtflowError:
            if new:
                with _fetching:
                    _fetched.discard(upscaler)
            raise
    path = FOLDER / f"{upscaler}.safetensors"
    return path if upscaler not in BUILT_IN else None
