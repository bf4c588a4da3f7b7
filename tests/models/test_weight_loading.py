"""Reading weights: libraries change the whole process while they do, which must harm nobody else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging

from artflow.models.catalog import ModelSpec, Source
from artflow.models.loader import load_model
from artflow.models.span import load_span
from tests.models.ldm import write_checkpoint


def test_models_of_all_kinds_are_read_side_by_side(tiny: Callable[..., Path], load: Callable, tmp_path: Path) -> None:
    folder = tiny()
    kl = tiny(vae="kl")
    file = write_checkpoint(load(kl), tmp_path / "model.safetensors")
    sources = [Source(folder=folder), Source(file=file, config=kl)]
    register, verbosity = torch.nn.Module.register_parameter, diffusers_logging.get_verbosity()

    def read(number: int) -> bool:
        if number % 3 == 2:
            return all(not p.is_meta for p in load_span.__wrapped__(2, "cpu").parameters())
        spec = ModelSpec(id=f"m{number}", source=sources[number % 3])
        return all(not p.is_meta for p in load_model(spec, device="cpu", dtype=torch.float32).unet.parameters())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(12)))
    assert torch.nn.Module.register_parameter is register
    assert diffusers_logging.get_verbosity() == verbosity
