"""From a folder to a model in memory."""

from __future__ import annotations

import gc
import json
import shutil
import weakref

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel

from artflow.errors import ArtflowError
from artflow.models import loader
from artflow.models.catalog import ModelSpec, Source
from artflow.models.loader import load_model
from tests.support.tiny import build_tiny_vae

CPU = {"device": "cpu", "dtype": torch.float32}


@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_a_folder_is_what_diffusers_makes_of_it(tiny, load, family):
    folder = tiny(family=family, vae="kl")
    pipeline_class = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    pipeline = pipeline_class.from_pretrained(folder, local_files_only=True)
    model = load(folder)

    assert model.family == family
    assert len(model.tokenizers) == len(model.text_encoders) == (2 if family == "sdxl" else 1)
    theirs = [
        pipeline.unet,
        pipeline.vae,
        pipeline.text_encoder,
        *([pipeline.text_encoder_2] if family == "sdxl" else []),
    ]
    for part, expected in zip([model.unet, model.vae, *model.text_encoders], theirs, strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(part.state_dict()[name], value), name


def test_a_model_knows_what_the_engine_has_to_know(tiny, load):
    model = load(tiny(prediction_type="v_prediction"))
    assert (model.prediction_type, model.latent_channels, model.vae_scale) == ("v_prediction", 4, 8)
    assert (model.max_tokens, model.time_cond_width) == (77, None)
    weights = sum(p.numel() for part in (model.unet, model.vae, *model.text_encoders) for p in part.parameters())
    assert model.memory_bytes >= 4 * weights
    assert load(tiny(time_cond=True)).time_cond_width == 32


def test_it_is_ready_to_run(tiny, load):
    """No gradients, no dropout, and convolutions in channels-last."""
    model = load(tiny())
    for part in (model.unet, model.vae, *model.text_encoders):
        assert not part.training and not any(p.requires_grad for p in part.parameters())
    for conv in (model.unet.conv_in, model.vae.decoder.layers[0]):
        assert conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("options", "schedule"),
    [
        ({"scheduler": "lcm"}, "lcm"),
        ({"scheduler": "euler"}, "turbo"),
        ({"scheduler": "euler", "time_cond": True}, "lcm"),
    ],
)
def test_how_live_steps_are_laid_out_follows_from_the_model(tiny, load, options, schedule):
    folder = tiny(**options)
    assert load(folder).live_schedule == schedule
    assert load(folder, live_schedule="turbo").live_schedule == "turbo"  # unless the catalogue says otherwise


def test_sdxls_own_vae_stays_in_float32_when_the_rest_is_float16(tiny, load):
    """In float16 it overflows, and the picture is black."""
    half = torch.float16
    assert load(tiny(family="sdxl", vae="kl"), dtype=half).vae_dtype == torch.float32
    assert load(tiny(family="sdxl", vae="kl"), dtype=torch.bfloat16).vae_dtype == torch.bfloat16
    assert load(tiny(family="sd", vae="kl"), dtype=half).vae_dtype == half
    assert load(tiny(family="sdxl", vae="tiny"), dtype=half).vae_dtype == half
    assert load(tiny(family="sdxl", vae="kl"), dtype=half).unet.dtype == half


def test_half_precision_files_are_taken_by_their_variant(tiny, load):
    model = load(tiny(variant="fp16"), variant="fp16")
    assert model.unet.dtype == torch.float32
    assert load(tiny(variant="fp16")).unet.dtype == torch.float32  # also where nobody said so


def test_a_tiny_vae_of_its_own_takes_the_place_of_the_models(tiny, tmp_path):
    spec = ModelSpec(id="m", source=Source(folder=tiny(vae="kl")), tiny_vae=str(build_tiny_vae(tmp_path / "taesd")))
    assert type(load_model(spec, **CPU).vae).__name__ == "AutoencoderTiny"
    assert type(load_model(spec, **CPU, use_tiny_vae=False).vae).__name__ == "AutoencoderKL"


def test_progress_goes_forward_and_ends_at_one(tiny):
    heard: list[tuple[str, float | None]] = []
    spec = ModelSpec(id="m", name="My model", source=Source(folder=tiny()))
    load_model(spec, **CPU, on_progress=lambda message, fraction: heard.append((message, fraction)))
    fractions = [f for _, f in heard]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert heard[0][0] == "Loading My model: text encoder" and heard[-1][0] == "My model is ready"


def test_an_inpaint_model_is_shown_a_mask_and_the_masked_picture_too(tiny, tmp_path, load):
    folder = shutil.copytree(tiny(), tmp_path / "m")
    take_channels(folder, 9)
    model = load(folder)
    assert (model.inpaints, model.latent_channels, model.unet.config.in_channels) == (True, 4, 9)
    assert not load(tiny()).inpaints


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_that_run_meanwhile_do_not_notice(tiny, load, monkeypatch, dtype):
    """Torch's default dtype belongs to all threads: changed for a moment, sessions would draw other noise."""
    changes: list[torch.dtype] = []
    change = torch.set_default_dtype
    monkeypatch.setattr(torch, "set_default_dtype", lambda d: (changes.append(d), change(d)))
    model = load(tiny(family="sdxl", vae="kl"), dtype=dtype)
    assert set(changes) <= {torch.float32}
    assert {p.dtype for part in (model.unet, *model.text_encoders) for p in part.parameters()} == {dtype}


def test_a_failed_load_leaves_nothing_in_memory(tiny, load, monkeypatch):
    """Not even while somebody keeps the error, as a job that reports it does."""
    read: list[weakref.ref] = []

    def out_of_memory(spec, parts, *_):
        read.append(weakref.ref(parts.unet))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(loader, "_place", out_of_memory)
    with pytest.raises(ArtflowError, match=r"^tiny could not be loaded: CUDA out of memory") as caught:
        load(tiny())
    gc.collect()
    assert caught.value.__cause__ is not None and read[0]() is None


def test_what_is_not_a_stable_diffusion_is_refused_with_the_reason(tiny, tmp_path, load):
    def broken(name: str, change) -> None:
        folder = shutil.copytree(tiny(family="sdxl" if "SDXL" in name else "sd"), tmp_path / name.replace(" ", "_"))
        change(folder)
        with pytest.raises(ArtflowError, match=name) as caught:
            load(folder)
        assert caught.value.code == "model_load_failed"
        assert caught.value.message.startswith("tiny could not be loaded: ")

    def in_index(**entries):
        return lambda folder: edit(folder / "model_index.json", **entries)

    broken("has no model_index.json", lambda folder: (folder / "model_index.json").unlink())
    broken("without unet", in_index(unet=[None, None], transformer=["diffusers", "FluxTransformer2DModel"]))
    broken("its text_encoder is a T5EncoderModel", in_index(text_encoder=["transformers", "T5EncoderModel"]))
    broken("its vae is a MyOwnVae", in_index(vae=["my_module", "MyOwnVae"]))
    broken("an SDXL refiner", in_index(text_encoder=[None, None], tokenizer=[None, None]))
    broken(
        "SDXL needs two",
        in_index(text_encoder_2=[None, None], tokenizer_2=[None, None]),
    )
    broken(
        "prediction_type is flow",
        lambda f: edit(f / "scheduler/scheduler_config.json", prediction_type="flow"),
    )
    broken("takes 8 channels and gives 4", lambda folder: take_channels(folder, 8))
    broken("no .safetensors weights in unet", lambda f: (f / "unet/diffusion_pytorch_model.safetensors").unlink())


def test_a_damaged_file_names_the_model(tiny, tmp_path, load):
    folder = shutil.copytree(tiny(), tmp_path / "m")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ArtflowError, match=r"^tiny could not be loaded: .+\.$") as caught:
        load(folder)
    assert caught.value.code == "model_load_failed"


def test_pickled_weights_are_never_opened(tiny, tmp_path, load):
    folder = shutil.copytree(tiny(), tmp_path / "m")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ArtflowError, match=r"unet/diffusion_pytorch_model\.bin is a pickled file") as caught:
        load(folder)
    assert caught.value.code == "unsafe_weights"


def test_the_catalogue_can_be_wrong_about_the_family(tiny, load):
    with pytest.raises(ArtflowError, match="of the sdxl family, and it is sd"):
        load(tiny(), family="sdxl")


def test_a_tiny_vae_for_other_latents_is_refused(tiny, tmp_path):
    spec = ModelSpec(
        id="m", source=Source(folder=tiny()), tiny_vae=str(build_tiny_vae(tmp_path / "v", latent_channels=16))
    )
    with pytest.raises(ArtflowError, match="its VAE has 16 latent channels, its UNet 4"):
        load_model(spec, **CPU)


def test_code_in_a_folder_is_never_run(tiny, tmp_path, load):
    """Diffusers would import a `pipeline.py` that the index names; the loader knows classes by name only."""
    folder = shutil.copytree(tiny(), tmp_path / "evil")
    (folder / "pipeline.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (folder / "unet" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    edit(folder / "model_index.json", _class_name=["pipeline", "Evil"], unet=["evil", "UNet2DConditionModel"])
    edit(folder / "unet/config.json", auto_map={"AutoModel": "evil.Evil"})
    load(folder)
    assert not (tmp_path / "ran").exists()


def edit(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def take_channels(folder, count):
    config = UNet2DConditionModel.load_config(folder, subfolder="unet")
    UNet2DConditionModel.from_config({**config, "in_channels": count}).save_pretrained(folder / "unet")
