"""The published StreamDiffusion 0.1.1, installed without its dependencies into a folder of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "streamdiffusion-0.1.1"


def streamdiffusion() -> ModuleType:
    """The module ``streamdiffusion.pipeline``, fetched on first use."""
    if not FOLDER.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER)]
        subprocess.run([*command, "streamdiffusion==0.1.1"], check=True)
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    return importlib.import_module("streamdiffusion.pipeline")
