"""Models of real size, without knowledge: for benchmarks. Only checked for shape here, they are large."""

from __future__ import annotations

import pytest
import torch

from benchmarks import full_size
from benchmarks.full_size import build_full_size, build_full_size_clip


def test_random_weights_keep_the_scale_of_what_goes_through():
    layers = torch.nn.Sequential(*[torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(5)])
    with torch.no_grad():
        full_size._fill(layers, torch.Generator().manual_seed(0))
        output = layers(torch.randn(1, 64, 16, 16))
    assert 0.3 < output.std() < 3


def test_clip_has_its_real_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_size, "_fill", lambda module, generator: None)
    towers = build_full_size_clip()
    assert sum(p.numel() for p in towers._model.parameters()) == 427_616_513


@pytest.mark.parametrize(
    ("kind", "family", "unet", "width"),
    [("sd15", "sd", 859_520_964, 768), ("sd-turbo", "sd", 865_910_724, 1024), ("sdxl", "sdxl", 2_567_463_684, 2048)],
)
def test_it_is_the_real_architecture_in_all_but_knowledge(monkeypatch, kind, family, unet, width):
    monkeypatch.setattr(full_size, "_fill", lambda module, generator: None)  # untouched pages cost no memory
    model = build_full_size(kind, dtype=torch.bfloat16, text_layers=1)
    assert model.family == family and model.dtype == torch.bfloat16
    assert sum(p.numel() for p in model.unet.parameters()) == unet
    assert model.unet.config.cross_attention_dim == width == sum(e.config.hidden_size for e in model.text_encoders)
    assert (model.latent_channels, model.vae_scale, model.live_schedule) == (4, 8, "lcm" if kind == "sd15" else "turbo")
