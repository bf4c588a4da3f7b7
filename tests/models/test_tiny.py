"""The tiny models of the tests: they have to be worth testing with."""

from __future__ import annotations

import time

import pytest
import torch

from tests.support.tiny import build_tiny


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_small_and_quick_to_build(tmp_path, family):
    start = time.process_time()
    folder = build_tiny(tmp_path / "m", family=family, vae="kl")
    assert time.process_time() - start < 10
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 10e6


def test_the_seed_decides_the_weights_and_leaves_torchs_own_alone(tmp_path, load):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, same, other = (load(build_tiny(tmp_path / str(i), seed=seed)).unet for i, seed in enumerate((1, 1, 2)))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.conv_in.weight, same.conv_in.weight)
    assert not torch.equal(first.conv_in.weight, other.conv_in.weight)


@pytest.mark.parametrize(("family", "prediction_type"), [("sd", "v_prediction"), ("sdxl", "sample")])
@torch.inference_mode()
def test_the_unet_reacts_to_everything_it_is_given(tiny, load, family, prediction_type):
    model = load(tiny(family=family, prediction_type=prediction_type, time_cond=True))
    assert model.prediction_type == prediction_type
    noise = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=noise)

    width = model.unet.config.cross_attention_dim
    base = {
        "sample": random(1, 4, 8, 8),
        "timestep": torch.tensor([400]),
        "encoder_hidden_states": random(1, 77, width),
    }
    base["timestep_cond"] = random(1, 32)
    changes = {
        "sample": random(1, 4, 8, 8),
        "timestep": torch.tensor([900]),
        "encoder_hidden_states": random(1, 77, width),
        "timestep_cond": random(1, 32),
    }
    if family == "sdxl":
        sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
        base["added_cond_kwargs"] = {"text_embeds": random(1, 48), "time_ids": sizes}
        changes["added_cond_kwargs"] = {"text_embeds": random(1, 48), "time_ids": sizes}
    output = model.unet(**base).sample
    assert output.isfinite().all() and 0.3 < output.std() < 3
    for name, value in changes.items():
        difference = (model.unet(**base | {name: value}).sample - output).abs().mean()
        assert difference > 0.1, f"{name}: {difference:.3f}"


@pytest.mark.parametrize("vae", ["tiny", "kl"])
@torch.inference_mode()
def test_colours_come_through_the_vae_as_different_latents_and_pictures(tiny, load, vae):
    model = load(tiny(vae=vae))
    colours = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, -1]]).view(3, 3, 1, 1).expand(3, 3, 64, 64)
    encoded = model.vae.encode(colours)
    latents = encoded.latents if vae == "tiny" else encoded.latent_dist.mode()
    latents = latents * model.vae.config.scaling_factor
    pictures = model.vae.decode(latents / model.vae.config.scaling_factor).sample
    assert latents.shape == (3, 4, 8, 8) and pictures.shape == (3, 3, 64, 64)
    assert pictures.isfinite().all() and pictures.std() > 0.1
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (latents[a] - latents[b]).abs().mean() > 0.2
        assert (pictures[a] - pictures[b]).abs().mean() > 0.05


def test_the_tokenizer_is_a_real_one(tiny, load):
    tokenizer = load(tiny()).tokenizers[0]
    ids = tokenizer("A cat!" * 50, padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert ids.shape == (1, 77)
    assert ids[0, 0] == tokenizer.bos_token_id and ids[0, -1] == tokenizer.eos_token_id
    assert tokenizer("A cat").input_ids == tokenizer("a  CAT").input_ids != tokenizer("a dog").input_ids
    assert tokenizer.decode(tokenizer("é 猫").input_ids, skip_special_tokens=True) == "é 猫"
