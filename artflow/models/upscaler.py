"""Networks that enlarge pictures: the embedded ones, and ESRGAN-class files, which the package `spandrel` reads."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models.weight_loading import weight_loading_lock

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

LARGEST_SCALE = 8
INSTALL = "pip install --no-deps spandrel einops"

Floats = NDArray[np.float32]
"""A picture before it is rounded: (height, width, 3), 0 to 255."""


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


def scales(path: Path | None, device: str) -> list[int]:
    """How many times the networks of a file (None: the embedded ones) enlarge; they are loaded unless they are there.

    Raises:
        ArtflowError: ``not_installed``, ``bad_upscaler``.
    """
    return sorted(_networks(path, device))


def enlarge(path: Path | None, scale: int, device: str, part: Picture) -> Floats:
    """A part of a picture, ``scale`` times as large.

    Raises:
        ArtflowError: as `scales`.
    """
    return _networks(path, device)[scale](part)


def _networks(path: Path | None, device: str) -> dict[int, Network]:
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
    if found.scale > LARGEST_SCALE:  # its output would be far larger than any allowed result
        sentence = f"{path.name} enlarges {found.scale} times; at most {LARGEST_SCALE} times is allowed."
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
