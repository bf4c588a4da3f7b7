"""Published packages that we are compared with, installed without their dependencies into folders of their own."""

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


def _fetched(package: str, version: str, module: str) -> ModuleType:
    folder = CACHE / f"{package}-{version}"
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*command, f"{package}=={version}"], check=True)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(module)
