"""Packed layers give what plain ones give, from the same copy of the weights."""

from __future__ import annotations

import pytest
import torch

from artflow.models.packing import pack


@torch.inference_mode()
def compute(model, rows: int, side: int) -> list[torch.Tensor]:
    """What the UNet and the VAE make of fixed noise: a prediction, a latent and a picture."""
    generator = torch.Generator().manual_seed(rows)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)

    text = torch.randn(rows, 77, model.unet.config.cross_attention_dim, generator=generator)
    more = {}
    if model.family == "sdxl":
        width = model.text_encoders[1].config.projection_dim
        pooled = torch.randn(rows, width, generator=generator)
        more["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": torch.ones(rows, 6)}
    latents = noise(rows, 4, side, side)
    predicted = model.unet(latents, torch.full((rows,), 499.0), encoder_hidden_states=text, return_dict=False, **more)
    encoded = model.vae.encode(noise(rows, 3, 8 * side, 8 * side).clamp(-1, 1))
    latent = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
    return [predicted[0], latent, model.vae.decode(latents, return_dict=False)[0]]


@pytest.mark.parametrize("family", ["sd", "sdxl"])
@pytest.mark.parametrize("vae", ["tiny", "kl"])
def test_a_packed_model_gives_what_the_plain_one_gives(load, tiny, family, vae):
    """At any batch and size, also another one than the first, for which the order was chosen."""
    plain, packed = load(tiny(family=family, vae=vae)), load(tiny(family=family, vae=vae))
    pack(packed)
    for rows, side in ((1, 8), (3, 8), (1, 16)):
        for ours, theirs in zip(compute(packed, rows, side), compute(plain, rows, side), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def fused_from(name: str) -> list[str]:
    """The plain layers' parameters that a packed model has as one."""
    for fused, parts in {"to_qkv": ("to_q", "to_k", "to_v"), "to_kv": ("to_k", "to_v")}.items():
        if f".{fused}." in name:
            return [name.replace(fused, part) for part in parts]
    return [name]


def test_there_is_still_one_copy_of_the_weights_and_it_can_be_had_back(load, tiny):
    plain, packed = load(tiny()), load(tiny())
    pack(packed)
    compute(packed, 1, 8)
    assert packed.memory_bytes == plain.memory_bytes
    for name, weight in packed.unet.named_parameters():
        dense = weight.to_dense() if weight.is_mkldnn else weight
        assert torch.equal(dense, torch.cat([plain.unet.get_parameter(one) for one in fused_from(name)])), name
    assert packed.unet.conv_in.weight.is_mkldnn and not plain.unet.conv_in.weight.is_mkldnn


def test_packing_twice_changes_nothing(load, tiny):
    model = load(tiny())
    pack(model)
    before = compute(model, 1, 8)
    pack(model)
    for now, then in zip(compute(model, 1, 8), before, strict=True):
        assert torch.equal(now, then)
