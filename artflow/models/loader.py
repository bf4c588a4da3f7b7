"""From a `ModelSpec` to a `Model` in memory: Stable Diffusion 1.x, 2.x and SDXL, safetensors only, no remote code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from artflow.errors import ArtflowError
from artflow.models import hub
from artflow.models.catalog import ModelSpec
from artflow.models.model import Model
from artflow.models.parts import Parts
from artflow.models.progress import Progress, quiet, without_chatter
from artflow.models.weights import require_weights

OnProgress = Callable[[str, float | None], None]

CLASSES = {
    "UNet2DConditionModel": UNet2DConditionModel,
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    "CLIPTokenizer": CLIPTokenizer,
}
"""Every class that is ever built from a folder. A folder that asks for another one is refused."""


def load_model(
    spec: ModelSpec,
    *,
    device: str,
    dtype: torch.dtype,
    use_tiny_vae: bool = True,
    on_progress: OnProgress = quiet,
) -> Model:
    """Load a model, and download it first where it is on the Hub and not yet here.

    ``on_progress`` is told what happens and how far the whole load is (0 to 1, never backwards; 1.0 at the end).
    It is called on threads of the download, too. ``use_tiny_vae`` takes the catalogue's small autoencoder in place
    of the model's own, if it names one. Raises ``ArtflowError``: ``model_load_failed``, ``unsafe_weights``,
    ``download_failed``; nothing is left on the device then.
    """
    progress = Progress(on_progress)
    tiny_vae = spec.tiny_vae if use_tiny_vae else None
    try:
        with without_chatter():
            parts = _read(spec, dtype, tiny_vae, progress)
            if tiny_vae is not None:
                parts.vae = _read_tiny_vae(tiny_vae, dtype, progress.part(0.85, 0.95))
            if spec.prediction_type != "auto":
                parts.scheduler_config["prediction_type"] = spec.prediction_type
            _check(spec, parts)
            progress.say(f"Moving {spec.title} to {device}", 0.95)
            model = _place(spec, parts, torch.device(device), dtype)
    except ArtflowError:
        raise
    except Exception as error:  # whatever a library says about a file that people brought
        raise ArtflowError("model_load_failed", f"{spec.id} could not be loaded: {_reason(error)}.") from error
    progress.say(f"{spec.title} is ready", 1.0)
    return model


def _read(spec: ModelSpec, dtype: torch.dtype, tiny_vae: str | None, progress: Progress) -> Parts:
    """Read the model itself; its own VAE is left out where another one takes its place."""
    skip = {"vae"} if tiny_vae is not None else set()
    if spec.source.file is not None:
        from artflow.models.single_file import read_single_file

        return read_single_file(spec, dtype, skip, progress.part(0.0, 0.85))
    folder = spec.source.folder
    if spec.source.hub is not None:
        folder = hub.download(
            spec.source.hub,
            revision=spec.revision,
            variant=spec.variant,
            skip=skip,
            on_progress=progress.part(0, 0.7).say,
        )
    assert folder is not None
    return read_folder(spec, folder, dtype, skip, progress.part(0.7 if spec.source.hub else 0.0, 0.85))


def read_folder(spec: ModelSpec, folder: Path, dtype: torch.dtype, skip: set[str], progress: Progress) -> Parts:
    """Read a diffusers folder: UNet, VAE (unless it is in ``skip``), tokenizers, text encoders, scheduler config."""
    index = _index(spec, folder)
    if not index.get("text_encoder") and index.get("text_encoder_2"):
        raise _refused(spec, "it is an SDXL refiner, which cannot make pictures on its own")
    wanted = [n for n in ("text_encoder", "text_encoder_2", "unet", "vae") if index.get(n) and n not in skip]
    loaded: dict[str, Any] = {}
    for done, name in enumerate(wanted):
        progress.say(f"Loading {spec.title}: {name.replace('_', ' ')}", done / len(wanted))
        names = [p.name for p in (folder / name).iterdir()] if (folder / name).is_dir() else []
        variant, _ = require_weights(spec.id, name, names, spec.variant)
        loaded[name] = _class(spec, name, index).from_pretrained(
            folder,
            subfolder=name,
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            **_dtype(name, dtype),
        )
    tokenizers = [
        _class(spec, n, index).from_pretrained(folder, subfolder=n, local_files_only=True)
        for n in ("tokenizer", "tokenizer_2")
        if index.get(n)
    ]
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Parts(
        unet=loaded["unet"],
        vae=loaded.get("vae"),
        tokenizers=tokenizers,
        text_encoders=[loaded[n] for n in wanted if n.startswith("text_encoder")],
        scheduler_config=scheduler,
    )


def _index(spec: ModelSpec, folder: Path) -> dict[str, str | None]:
    """Component names and their class names, out of ``model_index.json``."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise _refused(spec, f"{folder} is not a diffusers folder (it has no model_index.json)")
    index = json.loads(path.read_text(encoding="utf-8"))
    found = {k: v[1] for k, v in index.items() if isinstance(v, list) and len(v) == 2}
    for name in ("unet", "vae", "text_encoder", "tokenizer"):
        if not found.get(name) and not (name in ("text_encoder", "tokenizer") and found.get(f"{name}_2")):
            raise _refused(spec, f"it is a {index.get('_class_name', 'model')} without {name}, not a Stable Diffusion")
    return found


def _class(spec: ModelSpec, name: str, index: dict[str, str | None]) -> Any:
    class_name = str(index[name]).removesuffix("Fast")  # CLIPTokenizerFast is what older folders say
    if class_name not in CLASSES:
        raise _refused(spec, f"its {name} is a {class_name}; allowed are {', '.join(CLASSES)}")
    return CLASSES[class_name]


def _dtype(part: str, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The VAE is read in float32: whether it may run in ``dtype`` shows only when it is there (see `_place`)."""
    return {"dtype" if part.startswith("text") else "torch_dtype": torch.float32 if part == "vae" else dtype}


def _read_tiny_vae(source: str, dtype: torch.dtype, progress: Progress) -> AutoencoderTiny:
    """The small autoencoder of a Hub id or a folder."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = hub.download_vae(source, on_progress=progress.say)
    variant, _ = require_weights(source, "vae", [p.name for p in folder.iterdir()], None)
    progress.say("Loading the tiny autoencoder", 1.0)
    return AutoencoderTiny.from_pretrained(
        folder, variant=variant, use_safetensors=True, local_files_only=True, torch_dtype=dtype
    )


def _check(spec: ModelSpec, parts: Parts) -> None:
    """Refuse what the engine cannot stream, with the reason, while it is still off the device."""
    unet, vae = parts.unet.config, parts.vae
    assert vae is not None
    if unet.addition_embed_type == "text_time" and len(parts.text_encoders) != 2:
        raise _refused(spec, "it has one text encoder and SDXL needs two (a refiner cannot make pictures on its own)")
    if unet.addition_embed_type not in (None, "text_time") or unet.class_embed_type is not None:
        raise _refused(spec, "its UNet takes conditions that neither Stable Diffusion 1, 2 nor SDXL has")
    if len(parts.tokenizers) != len(parts.text_encoders):
        raise _refused(spec, f"it has {len(parts.text_encoders)} text encoders and {len(parts.tokenizers)} tokenizers")
    if unet.in_channels != unet.out_channels:
        raise _refused(spec, f"its UNet takes {unet.in_channels} channels (an inpainting model), not plain latents")
    if vae.config.latent_channels != unet.in_channels:
        raise _refused(spec, f"its VAE has {vae.config.latent_channels} latent channels, its UNet {unet.in_channels}")
    prediction = parts.scheduler_config.get("prediction_type") or "epsilon"
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise _refused(spec, f"its prediction_type is {prediction}; allowed are epsilon, v_prediction, sample")
    family = _family(parts)
    if spec.family not in ("auto", family):
        raise _refused(spec, f"the catalogue says it is of the {spec.family} family, and it is {family}")


def _family(parts: Parts) -> Any:
    return "sdxl" if parts.unet.config.addition_embed_type == "text_time" else "sd"


def _place(spec: ModelSpec, parts: Parts, device: torch.device, dtype: torch.dtype) -> Model:
    """Move everything to the device, as it will run: no gradients, convolutions in channels-last."""
    family, vae = _family(parts), parts.vae
    assert vae is not None
    # SDXL's own VAE overflows in float16 and gives black pictures; its config says so with force_upcast. SD 1 and 2
    # say the same only because it is the class's default, and are fine. bfloat16 has the range of float32.
    upcast = family == "sdxl" and dtype == torch.float16 and vae.config.get("force_upcast")
    vae.to(torch.float32 if upcast else dtype)
    for part in (parts.unet, vae):
        part.to(device, memory_format=torch.channels_last)
    for part in (parts.unet, vae, *parts.text_encoders):
        part.to(device).requires_grad_(False).eval()
    for tokenizer, encoder in zip(parts.tokenizers, parts.text_encoders, strict=True):
        tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    return Model(
        spec=spec,
        family=family,
        unet=parts.unet,
        vae=vae,
        tokenizers=parts.tokenizers,
        text_encoders=parts.text_encoders,
        scheduler_config=parts.scheduler_config,
        device=device,
        dtype=dtype,
    )


def _refused(spec: ModelSpec, reason: str) -> ArtflowError:
    return ArtflowError("model_load_failed", f"{spec.id} could not be loaded: {reason}.")


def _reason(error: Exception) -> str:
    """The first line of what a library said, without a final stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")[:300]
