"""One .safetensors file in the original layout: the same model as the folder that it was made from."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from artflow.errors import ArtflowError
from artflow.models import single_file
from artflow.models.catalog import ModelSpec, Source
from artflow.models.checkpoint_file import survey
from artflow.models.families.checkpoint import CheckpointKind
from artflow.models.families.known import FAMILIES, checkpoint_kind
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


# -- what people bring -------------------------------------------------------------------------------------------------

UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."


@pytest.fixture
def brought(tiny, load, tmp_path):
    """A checkpoint's tensors, the model that they are, and a function that loads them when they have been changed."""
    folder = tiny(vae="kl")
    tensors = load_file(write_checkpoint(load(folder), tmp_path / "model.safetensors"))

    def changed(tensors, **fields):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "brought.safetensors")
        return load_file_model(tmp_path / "brought.safetensors", config=folder, **fields)

    return SimpleNamespace(tensors=tensors, original=load(folder), load=changed, folder=folder)


def assert_same(model, expected, tolerance=0.0):
    ours, theirs = ([m.unet, m.vae, *m.text_encoders] for m in (model, expected))
    for part, other in zip(ours, theirs, strict=True):
        for (name, value), wanted in zip(part.state_dict().items(), other.state_dict().values(), strict=True):
            assert value.dtype == torch.float32, name
            torch.testing.assert_close(value, wanted, rtol=tolerance, atol=tolerance / 10, msg=name)


def renamed(tensors, names):
    """The tensors with what stands on the left in their names replaced."""
    result = {}
    for name, tensor in tensors.items():
        for old, new in names.items():
            name = name.replace(old, new)
        result[name] = tensor
    return result


def test_an_inpaint_checkpoint_as_one_file(tiny, load, tmp_path):
    original = load(tiny(vae="kl", inpaint=True))
    path = write_checkpoint(original, tmp_path / "inpainting.safetensors")
    model = load_file_model(path, config=tiny(vae="kl"))  # whose UNet has four channels, as the config of SD 1.5
    assert model.inpaints and model.prediction_type == "epsilon"
    assert_same(model, original)


def test_an_sd2_inpaint_checkpoint_is_not_run_to_find_out_what_it_predicts(tiny, load, tmp_path):
    original = load(tiny(vae="kl", inpaint=True))
    path = write_checkpoint(original, tmp_path / "inpainting.safetensors", open_clip=True)
    folder = tiny(vae="kl")
    spec = ModelSpec(id="checkpoint", source=Source(file=path, config=folder))
    shapes, metadata = survey("checkpoint", path)
    unconfigured = spec.model_copy(update={"source": Source(file=path)})
    assert single_file._prediction(unconfigured, SD2, shapes, metadata, original.unet) == {}


def test_a_file_without_vae_gets_the_familys_small_one_and_says_so(brought, tiny, monkeypatch):
    monkeypatch.setattr("artflow.models.families.sd.StableDiffusion.tiny_vae", str(tiny() / "vae"))
    model = brought.load({name: t for name, t in brought.tensors.items() if not name.startswith(VAE)})
    assert type(model.vae).__name__ == "AutoencoderTiny"
    assert model.notes == [f"checkpoint comes without a VAE; {tiny() / 'vae'} takes its place."]
    assert brought.load(brought.tensors).notes == []


@pytest.mark.parametrize(
    "names",
    [
        {"attn_1.q.": "attn_1.to_q.", "attn_1.k.": "attn_1.to_k.", "attn_1.v.": "attn_1.to_v.",
         "attn_1.proj_out.": "attn_1.to_out.0.", "attn_1.norm.": "attn_1.group_norm."},
        {"attn_1.q.": "attn_1.query.", "attn_1.k.": "attn_1.key.", "attn_1.v.": "attn_1.value.",
         "attn_1.proj_out.": "attn_1.proj_attn."},
        {f"{CLIP}text_model.": CLIP},
    ],
    ids=["to_q", "query", "text tower without text_model"],
)  # fmt: skip
def test_every_spelling_of_a_name_is_known(brought, names):
    tensors = renamed(brought.tensors, names)
    assert tensors.keys() != brought.tensors.keys()
    assert_same(brought.load(tensors), brought.original)


def test_attention_of_the_vae_as_convolutions(brought):
    tensors = {
        name: tensor[..., None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
        for name, tensor in brought.tensors.items()
    }
    assert_same(brought.load(tensors), brought.original)


def test_ema_copies_beside_the_plain_weights_are_not_read(brought):
    unet = {name: tensor for name, tensor in brought.tensors.items() if name.startswith(UNET)}
    ema = {"model_ema." + name.removeprefix("model.").replace(".", ""): tensor + 1 for name, tensor in unet.items()}
    others = {"model_ema.decay": torch.tensor(0.9), "alphas_cumprod": torch.ones(1000), "lora.alpha": torch.ones(1)}
    assert_same(brought.load(brought.tensors | ema | others), brought.original)


@pytest.mark.parametrize(
    ("stored", "tolerance"),
    [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float8_e4m3fn, 0.1), (torch.float8_e5m2, 0.2)],
)
def test_weights_of_fewer_bits(brought, stored, tolerance):
    tensors = {name: tensor.to(stored) for name, tensor in brought.tensors.items()}
    assert_same(brought.load(tensors), brought.original, tolerance)


@pytest.mark.parametrize("suffix", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("each_row", [False, True])
def test_scaled_fp8_is_scaled(brought, suffix, each_row):
    tensors = dict(brought.tensors)
    tensors[f"{UNET}scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    for name, tensor in brought.tensors.items():
        if name.startswith(UNET) and name.endswith(".weight") and tensor.ndim == 2:
            largest = tensor.abs().amax(1) if each_row else tensor.abs().amax()
            scale = largest / 448
            tensors[name] = (tensor / (scale[:, None] if each_row else scale)).to(torch.float8_e4m3fn)
            layer = name.removesuffix("weight")
            tensors[layer + suffix] = scale
            tensors[layer + "scale_input"] = torch.tensor(3.0)
            tensors[layer + "comfy_quant"] = torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
    assert_same(brought.load(tensors), brought.original, 0.1)


def test_what_is_quantized_otherwise_is_refused_and_never_read_as_it_is(brought):
    name = f"{UNET}time_embed.0.weight"
    layer, weight = name.removesuffix("weight"), brought.tensors[name]
    as_bytes = torch.tensor(list(json.dumps({"format": "nvfp4"}).encode()), dtype=torch.uint8)
    cases = {
        "uint8": {name: weight.to(torch.uint8)},
        "weight_scale_2": {layer + "weight_scale_2": torch.ones(1)},
        "nvfp4": {layer + "comfy_quant": as_bytes},
        "scales": {name: weight.to(torch.float8_e4m3fn), layer + "scale_weight": torch.ones(3)},
    }
    for reason, changes in cases.items():
        with pytest.raises(ArtflowError, match=reason) as caught:
            brought.load(brought.tensors | changes)
        assert caught.value.code == "model_load_failed"


@pytest.mark.parametrize(
    ("lost", "part"),
    [("time_embed.2", "unet"), ("decoder.conv_in", "vae"), ("text_model.final_layer_norm", "text_encoder")],
)
def test_a_file_that_lacks_weights_is_refused_with_their_part(brought, lost, part):
    tensors = {name: tensor for name, tensor in brought.tensors.items() if lost not in name}
    with pytest.raises(ArtflowError, match=f"some weights of its {part} are missing"):
        brought.load(tensors)


def test_v_prediction_of_sdxl_is_said_by_empty_tensors(tiny, load, tmp_path):
    folder = tiny(family="sdxl", vae="kl", scheduler="euler")
    tensors = load_file(write_checkpoint(load(folder), tmp_path / "model.safetensors"))
    for markers, prediction, zero_snr in (
        ((), "epsilon", False), (("v_pred",), "v_prediction", False), (("v_pred", "ztsnr"), "v_prediction", True),
    ):  # fmt: skip
        save_file(tensors | dict.fromkeys(markers, torch.empty(0)), tmp_path / "marked.safetensors")
        model = load_file_model(tmp_path / "marked.safetensors", config=folder)
        assert model.prediction_type == prediction
        assert bool(model.scheduler_config.get("rescale_betas_zero_snr")) == zero_snr


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
    class Added(StableDiffusion):
        family = "added"

        @classmethod
        def checkpoint_kind(cls, model, shapes):
            return CheckpointKind("sd15", (CLIPTextModel,), ("!",))

        @classmethod
        def check(cls, spec, parts):
            raise ArtflowError("model_load_failed", f"read with {parts.tokenizers[0].pad_token}")

    folder = tiny(vae="kl")
    config = shutil.copytree(folder, tmp_path / "config", ignore=shutil.ignore_patterns("tokenizer"))
    path = write_checkpoint(load(folder), tmp_path / "model.safetensors")
    monkeypatch.setattr("artflow.models.families.known.FAMILIES", (Added, *FAMILIES))
    with pytest.raises(ArtflowError, match="read with !"):
        load_file_model(path, config=config)


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
