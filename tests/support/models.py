"""Small real models, built once a test run."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch

from artflow.engine.runner import Runner
from artflow.models.catalog import ModelSpec
from artflow.models.loader import load_model
from artflow.models.model import Model
from tests.support.tiny import build_tiny


@cache
def tiny_folder(**options: Any) -> Path:
    """A diffusers folder with seeded random weights; options as in `build_tiny`."""
    return build_tiny(Path(tempfile.mkdtemp(prefix="artflow-tiny-")) / "model", **options)


@cache
def tiny_model(**options: Any) -> Model:
    """That folder, loaded in float32 on the CPU."""
    spec = ModelSpec(id="tiny", source={"folder": str(tiny_folder(**options))}, width=64, height=64)
    return load_model(spec, device="cpu", dtype=torch.float32)


def tiny_runner(**options: Any) -> Runner:
    """A runner of its own over the shared weights."""
    return Runner(tiny_model(**options))
