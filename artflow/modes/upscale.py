"""Upscale: a picture 2, 3, 4 or 8 times as large, in tiles, with progress and cancel.

Upscalers: ``lanczos``; ``span``, the embedded network; and any ESRGAN-class ``.safetensors``, in ``models/upscalers/``
or on the Hub (``owner/name/file.safetensors``), which the package ``spandrel`` reads.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size
from artflow.models.hub import OnProgress, download_file
from artflow.models.progress import no_progress
from artflow.models.weight_loading import weight_loading_lock
from artflow.modes.tiles import Floats, Tile, Tiling, tiled

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

FACTORS = (2, 3, 4, 8)
FOLDER = Path(__file__).parents[2] / "models" / "upscalers"
BUILT_IN = {"span": "SPAN (ships with the app)", "lanczos": "Lanczos (no network)"}
LONGEST = 8192
MOST_PIXELS = 36_000_000
HUB_FILE = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)/((?:[\w-][\w.-]*/)*[\w-][\w.-]*\.safetensors)")
LARGEST_FILE = 400_000_000  # bytes of a file of the Hub ...
MOST_FILES = 16  # ... and how many are downloaded until a restart, since any user may name one
INSTALL = "pip install --no-deps spandrel einops"

Run = Callable[[Callable[[], Floats]], Floats]


@dataclass(frozen=True)
class Network:
    """A loaded network and what it needs."""

    module: Callable[[torch.Tensor], torch.Tensor]
    scale: int
    device: str
    multiple: int = 1  # sides must be multiples of it ...
    least: int = 1  # ... and at least so long

    def __call__(self, part: Picture) -> Floats:
        """A part of a picture enlarged, in floating point."""
        import torch
        from torch.nn.functional import pad

        height, width = part.shape[:2]
        values = torch.from_numpy(np.array(part)).to(self.device).permute(2, 0, 1)[None].float() / 255
        more = [self._more(width), self._more(height)]
        if any(more):
            values = pad(values, (0, more[0], 0, more[1]), mode="replicate")
        with torch.inference_mode():
            result = self.module(values)[0, :, : height * self.scale, : width * self.scale]
        return (result.float().clamp(0, 1) * 255).permute(1, 2, 0).cpu().numpy()

    def _more(self, side: int) -> int:
        wanted = max(side, self.least)
        return -(-wanted // self.multiple) * self.multiple - side


def upscalers() -> dict[str, str]:
    """The upscalers available now: id to title. Files are listed by their name without the ending."""
    found = dict(BUILT_IN)
    if FOLDER.is_dir():
        found |= {path.stem: path.stem for path in sorted(FOLDER.glob("*.safetensors")) if path.stem not in found}
    return found


def upscale(
    picture: Picture,
    factor: int,
    upscaler: str = "span",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: threading.Event | None = None,
    *,
    device: str = "cpu",
    run: Run = lambda work: work(),
    tiling: Tiling | None = None,
) -> Picture | None:
    """The picture enlarged, or None when cancelled, which takes effect after the present tile.

    Args:
        picture: any size whose result fits the limits
        factor: 2, 3, 4 or 8
        upscaler: an id of `upscalers`
        on_progress: told how many tiles are done, of how many
        cancelled: set to end it
        device: where networks run
        run: runs one tile; for a device that belongs to another thread
        tiling: how large tiles are; None for tiles that suit any memory

    Raises:
        ArtflowError: ``bad_parameter``, ``picture_too_large``, ``unknown_upscaler``, ``not_installed``,
            ``bad_upscaler``.
    """
    size = _checked_size(picture, factor)
    stop = cancelled or threading.Event()
    tiling = tiling or Tiling()
    steps = [] if upscaler == "lanczos" else network_chain(factor, networks(upscaler, device))
    total = sum(_counts(picture, steps, tiling)) + 1  # the last one is the final resize by Lanczos
    done = 0

    def after_tile() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)
        if stop.is_set():
            raise Cancelled

    try:
        on_progress(0, total)
        for network in steps:
            if stop.is_set():
                return None
            picture = tiled(picture, network.scale, partial(_run_on, run, network), tiling, after_tile)
    except Cancelled:
        return None
    if picture.shape[:2] != (size.height, size.width):
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    on_progress(total, total)
    return picture


def _run_on(run: Run, network: Network, tile: Tile) -> Floats:
    return run(lambda: network(tile.picture))


def _checked_size(picture: Picture, factor: Any) -> Size:
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


def _counts(picture: Picture, steps: list[Network], tiling: Tiling) -> list[int]:
    height, width = picture.shape[:2]
    counts = []
    for network in steps:
        counts.append(tiling.count(height, width))
        height, width = height * network.scale, width * network.scale
    return counts


def network_chain(factor: int, available: dict[int, Network]) -> list[Network]:
    """The networks to run one after the other; a Lanczos resize follows if they miss or exceed ``factor``.

    A single network may exceed it (3 is 4, then reduced); a chain may not, since its cost grows with the square.
    """
    enough = [scale for scale in sorted(available) if scale >= factor]
    if enough:
        return [available[enough[0]]]
    steps, rest = [], float(factor)
    while usable := [scale for scale in sorted(available) if 1 < scale <= rest]:
        steps.append(available[usable[-1]])
        rest /= usable[-1]
    return steps or [available[max(available)]]


def check_upscaler(upscaler: Any) -> None:
    """Refuse an unknown upscaler.

    Raises:
        ArtflowError: ``unknown_upscaler``, naming those there are.
    """
    known = upscalers()
    if not isinstance(upscaler, str) or not (upscaler in known or HUB_FILE.fullmatch(upscaler)):
        sentence = f"There is no upscaler {str(upscaler)[:60]!r}; there are: {', '.join(known)}"
        raise ArtflowError("unknown_upscaler", f"{sentence}, and files of the Hub: owner/name/file.safetensors.")


_fetched: set[str] = set()


def fetch(upscaler: str, on_progress: OnProgress = no_progress) -> Path | None:
    """The file of an upscaler, downloaded if it is on the Hub; None for the built-in ones.

    Raises:
        ArtflowError: ``unknown_upscaler``, ``download_failed``, ``too_many_downloads``.
    """
    check_upscaler(upscaler)
    if on_the_hub := HUB_FILE.fullmatch(upscaler):
        if upscaler not in _fetched and len(_fetched) >= MOST_FILES:
            sentence = f"{MOST_FILES} upscalers of the Hub have been fetched; restart the app to fetch others."
            raise ArtflowError("too_many_downloads", sentence)
        path = download_file(*on_the_hub.groups(), largest=LARGEST_FILE, on_progress=on_progress)
        _fetched.add(upscaler)
        return path
    path = FOLDER / f"{upscaler}.safetensors"
    return path if upscaler not in BUILT_IN else None


def networks(upscaler: str, device: str) -> dict[int, Network]:
    """The networks of an upscaler by their scale, loaded.

    Raises:
        ArtflowError: ``unknown_upscaler``, ``download_failed``, ``not_installed``, ``bad_upscaler``.
    """
    path = fetch(upscaler)
    if path is None:
        from artflow.models.span import SCALES, load_span

        return {scale: Network(load_span(scale, device), scale, device) for scale in SCALES}
    network = _from_file(path, device)
    return {network.scale: network}


@lru_cache(maxsize=2)
def _from_file(path: Path, device: str) -> Network:
    spandrel = _spandrel()
    try:
        with weight_loading_lock():
            found = spandrel.ModelLoader("cpu").load_from_file(path)
    except Exception as error:
        log.warning("an upscaler could not be read", exc_info=error)
        sentence = f"{path.name} is no upscaler that can be read: {str(error)[:200]}."
        raise ArtflowError("bad_upscaler", sentence) from None
    if not isinstance(found, spandrel.ImageModelDescriptor) or (found.input_channels, found.output_channels) != (3, 3):
        raise ArtflowError("bad_upscaler", f"{path.name} is a model, but none that enlarges colour pictures.")
    if found.scale > max(FACTORS):  # its output would be far larger than any allowed result
        sentence = f"{path.name} enlarges {found.scale} times; at most {max(FACTORS)} times is allowed."
        raise ArtflowError("bad_upscaler", sentence)
    needs = found.size_requirements
    found.to(device).eval()
    return Network(found, found.scale, device, max(1, needs.multiple_of or 1), max(1, needs.minimum or 1))


def _spandrel() -> Any:
    """The package `spandrel`, imported without torchvision if need be.

    It uses torchvision for two architectures that do not enlarge pictures. Torchvision must match torch's build, and a
    wrong one breaks other packages, so where it is missing an empty module stands in for it during the import.
    """
    name = "torchvision"
    try:
        if importlib.util.find_spec("spandrel") is None:
            raise ImportError("it is not installed")
        if "spandrel" in sys.modules or importlib.util.find_spec(name) is not None:
            return importlib.import_module("spandrel")
        return _import_without_torchvision()
    except (ImportError, RuntimeError) as error:
        raise ArtflowError("not_installed", f"Upscalers from files need a package: {INSTALL} ({error}).") from None


_importing = threading.Lock()


def _import_without_torchvision() -> Any:
    class Absent(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return None

    names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    with _importing:
        sys.modules.update({name: Absent(name) for name in names})
        try:
            return importlib.import_module("spandrel")
        finally:
            for name in names:
                sys.modules.pop(name, None)
