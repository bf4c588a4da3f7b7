"""A catalogue of controls whose networks are small and real, for the tiny models of `tests.support.models`."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from artflow.engine.runner import Runner
from artflow.images import Picture
from artflow.models import control_catalog
from tests.support.models import tiny_folder
from tests.support.tiny import SECOND_TEXT_WIDTH, TEXT_WIDTH, build_tiny_adapter, build_tiny_controlnet


@cache
def networks() -> dict[str, Path]:
    """The folders of two ControlNets, one for SDXL and an adapter."""
    root = Path(tempfile.mkdtemp(prefix="artflow-tiny-control-"))
    build_tiny_controlnet(root / "canny", tiny_folder())
    build_tiny_controlnet(root / "scribble", tiny_folder(), seed=1)
    build_tiny_controlnet(root / "xl", tiny_folder(family="sdxl"))
    build_tiny_adapter(root / "adapter")
    return {name: root / name for name in ("canny", "scribble", "xl", "adapter")}


@pytest.fixture
def tiny_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tiny models have controls: ``canny``, ``scribble``, and an adapter as ``color``."""

    def kind(name: str, **sources: Path) -> dict[str, Any]:
        return {
            "kind": name, "name": name.title(), "preprocess": name,
            "networks": {family: {"folder": str(path)} for family, path in sources.items()},
        }  # fmt: skip

    there = networks()
    catalog = {
        "families": {
            "tiny": {"name": "Tiny", "text_width": TEXT_WIDTH},
            "tinyxl": {"name": "Tiny XL", "text_width": TEXT_WIDTH + SECOND_TEXT_WIDTH},
        },
        "kinds": [
            kind("canny", tiny=there["canny"], tinyxl=there["xl"]),
            kind("scribble", tiny=there["scribble"]),
            kind("color", tiny=there["adapter"]),
            kind("depth", tiny=there["xl"]),  # of the other family: refused when it is read
        ],
    }
    path = tmp_path / "controls.yaml"
    path.write_text(yaml.safe_dump(catalog))
    monkeypatch.setattr(control_catalog, "PRESET", path)
    yield


def load(runner: Runner, *kinds: str) -> None:
    """Wait until the model has the networks of these kinds."""
    heard = threading.Event()
    while not runner.controls.ready(kinds, heard.set):
        assert heard.wait(20)
        heard.clear()


def lines(side: int = 64, seed: int = 0) -> Picture:
    """A map: some white lines on black."""
    picture = np.zeros((side, side, 3), np.uint8)
    for at in np.random.default_rng(seed).integers(4, side - 8, 3):
        picture[at : at + 3], picture[:, at : at + 3] = 255, 255
    return picture
