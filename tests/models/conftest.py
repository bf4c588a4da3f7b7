"""Tiny models, built once for the whole folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from artflow.models.catalog import ModelSpec, Source
from artflow.models.loader import load_model
from artflow.models.model import Model
from tests.support.tiny import build_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder with a tiny model, the same one for the same options of `build_tiny`: do not write there."""

    @cache
    def build(**options: object) -> Path:
        return build_tiny(tmp_path_factory.mktemp("tiny") / "model", **options)

    return build


@pytest.fixture(scope="session")
def load() -> Callable[..., Model]:
    """`load_model` of a folder in float32 on the CPU; further fields of the spec as keywords."""

    def load(folder: Path, *, dtype: torch.dtype = torch.float32, **fields: object) -> Model:
        spec = ModelSpec(id="tiny", source=Source(folder=folder), **fields)
        return load_model(spec, device="cpu", dtype=dtype)

    return load
