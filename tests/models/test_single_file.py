"""One .safetensors file in the original layout: the same model as the folder that it was made from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec, Source
from artflow.models.families import FAMILIES, checkpoint_kind
from artflow.models.families.checkpoint import CheckpointKind
from artflow.models.families.sd import SD2, StableDiffusion
from artflow.models.loader import load_model
from artflow.models.single_file import CONFIGS, clip_tokenizer
from tests.models.ldm import write_checkpoint


def load_file_model(path, config=None, **fields):
    spec = ModelSpec(id="checkpoint", source=Source(file=path, config=config), **fields)
    return load_model(spec, device="cpu", dtype=torch.float32)


@pytest.mark.parametrize(
    ("family", "open_clip"), [("sd", False), ("sd", True), ("sdxl", False)], ids=["sd1", "sd2", "sdxl"]
)
def test_a_checkpoint_is_the_model_that_it_was_made_from(tiny, load, tmp_path, family, open_clip):
    folder = tiny(family=family, vae="kl", scheduler="euler", prediction_type="v_prediction")
    original = load(folder)
    path = write_checkpoint(original, tmp_path / "model.safetensors", open_clip=open_clip)

    model = load_file_model(path, config=folder)

    assert model.family == family and model.prediction_type == "v_prediction"
    ours = [model.unet, model.vae, *model.text_encoders]
    theirs = [original.unet, original.vae, *original.text_encoders]
    for part, expected in zip(ours, theirs, strict=True):
        weights = part.state_dict()
        for name, value in expected.state_dict().items():
            assert torch.equal(weights[name], value), name
    assert model.tokenizers[0]("a cat").input_ids == original.tokenizers[0]("a cat").input_ids


def test_a_tiny_vae_takes_the_place_of_the_one_in_the_file(tiny, load, tmp_path):
    folder = tiny(vae="kl")
    path = write_checkpoint(load(folder), tmp_path / "model.safetensors")

    model = load_file_model(path, config=folder, tiny_vae=str(tiny() / "vae"))

    assert type(model.vae).__name__ == "AutoencoderTiny"


def test_what_the_unet_predicts_is_read_from_the_metadata(tiny, load, tmp_path):
    folder = tiny(vae="kl")
    path = write_checkpoint(load(folder), tmp_path / "model.safetensors", metadata={"modelspec.prediction_type": "v"})
    assert load_file_model(path, config=folder).prediction_type == "v_prediction"
    assert load_file_model(path, config=folder, prediction_type="sample").prediction_type == "sample"


def test_files_that_are_no_checkpoint_are_refused_with_the_reason(tiny, load, tmp_path):
    whole = load_file(write_checkpoint(load(tiny(vae="kl")), tmp_path / "whole.safetensors"))
    cases = {
        "a LoRA": {"lora_unet_down_blocks_0.alpha": torch.ones(1)},
        "no text encoder": {k: v for k, v in whole.items() if not k.startswith("cond_stage_model")},
        "refiner": whole | {"conditioner.embedders.0.model.ln_final.weight": torch.ones(4)},
    }
    for reason, tensors in cases.items():
        save_file(tensors, tmp_path / "bad.safetensors")
        with pytest.raises(ArtflowError, match=reason) as caught:
            load_file_model(tmp_path / "bad.safetensors")
        assert caught.value.code == "model_load_failed"

    (tmp_path / "bad.safetensors").write_bytes(b"not a tensor in here")
    with pytest.raises(ArtflowError, match=r"bad\.safetensors cannot be read") as caught:
        load_file_model(tmp_path / "bad.safetensors")
    assert caught.value.code == "model_load_failed"


@pytest.mark.parametrize(
    ("names", "config"),
    [
        (["cond_stage_model.transformer.text_model.final_layer_norm.weight"], "sd15"),
        (["cond_stage_model.model.ln_final.weight"], "sd2"),
        (["conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.ln_final.weight"], "sdxl"),
        (["first_stage_model.encoder.conv_in.weight"], None),
    ],
)
def test_each_family_knows_its_checkpoints(names, config):
    kind = checkpoint_kind("checkpoint", dict.fromkeys(names, (1,)))
    assert (kind and kind.config) == config


@pytest.mark.parametrize(("away", "prediction"), [(0.0, "epsilon"), (-2.0, "v_prediction")])
def test_what_an_sd2_unet_predicts_is_found_out_by_running_it(away, prediction):
    unet = torch.nn.Linear(1, 1)
    unet.config = SimpleNamespace(cross_attention_dim=8)
    unet.forward = lambda latents, timestep, encoder_hidden_states: SimpleNamespace(sample=latents + away)
    assert SD2.prediction_of(unet) == prediction


@pytest.mark.parametrize("tower", ["conditioner.embedders.0.model.x", "conditioner.embedders.0.transformer.x"])
def test_half_of_sdxls_text_encoders_are_not_enough(tower):
    with pytest.raises(ArtflowError, match="one text encoder and SDXL needs two"):
        checkpoint_kind("checkpoint", {tower: (1,)})


def test_a_family_that_is_added_reads_its_checkpoints_in_its_own_way(tiny, load, tmp_path, monkeypatch):
    class Pipeline:
        @staticmethod
        def from_single_file(path, *, tokenizer, **options):
            raise ArtflowError("model_load_failed", f"read with {tokenizer.pad_token} and {options['adapter']}")

    class Added(StableDiffusion):
        family = "added"

        @classmethod
        def checkpoint_kind(cls, model, shapes):
            return CheckpointKind("sd15", Pipeline, ("!",), left_out=("adapter",))

    monkeypatch.setattr("artflow.models.families.FAMILIES", (Added, *FAMILIES))
    path = write_checkpoint(load(tiny(vae="kl")), tmp_path / "model.safetensors")
    with pytest.raises(ArtflowError, match="read with ! and None"):
        load_file_model(path, tiny_vae="unused")


def test_a_checkpoint_of_another_size_than_its_config_is_refused(tiny, load, tmp_path):
    path = write_checkpoint(load(tiny(vae="kl")), tmp_path / "model.safetensors")
    with pytest.raises(ArtflowError, match="checkpoint could not be loaded"):
        load_file_model(path)  # taken for SD 1.5, whose layers are wider


def test_the_tokenizer_that_ships_is_clips_own():
    """Ids as `openai/clip-vit-large-patch14` gives them."""
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49_408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    padded = clip_tokenizer("!")("a cat", padding="max_length", max_length=6).input_ids
    assert padded == [49406, 320, 2368, 49407, 0, 0]


@pytest.mark.parametrize(
    ("kind", "unet", "text"),
    [
        ("sd15", 859_520_964, 123_060_480),
        ("sd2", 865_910_724, 340_387_840),
        ("sdxl", 2_567_463_684, 123_060_480),
    ],
)
def test_the_architectures_that_ship_have_the_published_sizes(kind, unet, text):
    folder = CONFIGS / kind
    with torch.device("meta"):
        assert (
            count(UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder, subfolder="unet"))) == unet
        )
        assert count(AutoencoderKL.from_config(AutoencoderKL.load_config(folder, subfolder="vae"))) == 83_653_863
        assert count(CLIPTextModel(CLIPTextConfig.from_pretrained(folder, subfolder="text_encoder"))) == text
        if kind == "sdxl":
            config = CLIPTextConfig.from_pretrained(folder, subfolder="text_encoder_2")
            assert count(CLIPTextModelWithProjection(config)) == 694_659_840


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
