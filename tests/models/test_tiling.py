"""Large pictures go through AutoencoderKL in tiles, for the memory's sake, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artflow.models.families import unet


class Seen:
    """The longest sides of what a module was given."""

    def __init__(self, module: nn.Module) -> None:
        self.sides: set[int] = set()
        module.register_forward_pre_hook(lambda _, given: self.sides.add(max(given[0].shape[-2:])))


@pytest.fixture
def model(tiny, load, monkeypatch):
    monkeypatch.setattr(unet, "TILED_FROM", 256**2)
    monkeypatch.setattr(unet, "TILE", 128)
    return load(tiny(vae="kl"))


@torch.inference_mode()
@pytest.mark.parametrize(("size", "encoded", "decoded"), [((256, 248), 256, 32), ((320, 256), 128, 16)])
def test_large_pictures_are_coded_in_tiles(model, size, encoded, decoded):
    encoder, decoder = Seen(model.vae.encoder), Seen(model.vae.decoder)
    blocks = np.random.default_rng(1).integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
    latents = model.encode(torch.from_numpy(blocks.repeat(8, 0).repeat(8, 1))[None])
    pixels = model.decode(latents)
    assert (max(encoder.sides), max(decoder.sides)) == (encoded, decoded)
    assert latents.shape == (1, 4, size[0] // 8, size[1] // 8) and pixels.shape == (1, 3, *size)
    whole = model.vae.decode(latents / model.vae.config.scaling_factor).sample
    assert torch.corrcoef(torch.stack([pixels.flatten(), whole.flatten()]))[0, 1] > 0.95


def test_tiles_need_no_weights_of_their_own(model):
    own = {p.data_ptr() for p in model.vae.parameters()}
    assert {p.data_ptr() for p in model._tiling_vae.parameters()} == own
    model.vae.to(torch.bfloat16)
    assert next(model._tiling_vae.parameters()).dtype == torch.bfloat16 and not model.vae.use_tiling


def test_a_tiny_autoencoder_needs_no_tiles(tiny, load, monkeypatch):
    monkeypatch.setattr(unet, "TILED_FROM", 0)
    model = load(tiny())
    assert model._vae_for(10**9) is model.vae
