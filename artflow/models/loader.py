"""From a `ModelSpec` to a `Model` in memory: Stable Diffusion 1.x, 2.x and SDXL, safetensors only, no remote code."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

from artflow.errors import ArtflowError
from artflow.models import hub, lora_weights
from artflow.models.catalog import ModelSpec
from artflow.models.dtypes import memory_format
from artflow.models.families.known import family_of
from artflow.models.families.painter import Painter
from artflow.models.families.unet import UNetModel
from artflow.models.folder import read_folder, read_vae
from artflow.models.model import Model
from artflow.models.parts import Parts
from artflow.models.progress import ProgressReporter, no_progress
from artflow.models.room import check_room
from artflow.models.single_file import read_single_file
from artflow.models.weight_loading import weight_loading_lock
from artflow.models.weights import refused, require_weights

LCM_LORAS = {
    768: "latent-consistency/lcm-lora-sdv1-5/pytorch_lora_weights.safetensors",
    2048: "latent-consistency/lcm-lora-sdxl/pytorch_lora_weights.safetensors",
}
"""By the width of the text that a model is shown."""
LARGEST_LORA = 1_000_000_000  # bytes

OnProgress = Callable[[str, float | None], None]


def load_model(
    spec: ModelSpec,
    *,
    device: str,
    dtype: torch.dtype,
    use_tiny_vae: bool = True,
    on_progress: OnProgress = no_progress,
) -> Model:
    """Load a model, and download it first where it is on the Hub and not yet here.

    ``on_progress`` gets a message and the fraction of the whole load (0 to 1, never decreasing; 1.0 at the end), also
    from the threads of the download. ``use_tiny_vae`` takes the catalogue's small autoencoder in place
    of the model's own, if it names one. Raises ``ArtflowError``: ``model_load_failed``, ``unsafe_weights``,
    ``download_failed``, ``not_enough_memory`` before a download; nothing is left on the device then.
    """
    progress = ProgressReporter(on_progress)
    try:
        model = _load(spec, torch.device(device), dtype, spec.tiny_vae if use_tiny_vae else None, progress)
    except Exception as error:  # a file of a user's can make the library raise anything
        # The traceback's frames hold the weights read so far and would keep them in memory as long as the error.
        traceback.clear_frames(error.__traceback__)
        if isinstance(error, ArtflowError):
            raise
        raise ArtflowError("model_load_failed", f"{spec.id} could not be loaded: {_reason(error)}.") from error
    progress.say(f"{spec.title} is ready", 1.0)
    return model


def _load(
    spec: ModelSpec, device: torch.device, dtype: torch.dtype, tiny_vae: str | None, progress: ProgressReporter
) -> Model:
    if spec.family == Painter.family:
        return Painter.load(spec, device, dtype)
    parts = _read(spec, device, dtype, tiny_vae, progress)
    notes = []
    if parts.vae is None and tiny_vae is None:
        tiny_vae = spec.tiny_vae or family_of(parts).tiny_vae
        notes.append(f"{spec.title} comes without a VAE; {tiny_vae} takes its place.")
    if tiny_vae is not None:
        parts.vae = _read_tiny_vae(tiny_vae, progress.part(0.85, 0.95))
    if spec.prediction_type != "auto":
        parts.scheduler_config["prediction_type"] = spec.prediction_type
    _check(spec, parts)
    progress.say(f"Moving {spec.title} to {device}", 0.95)
    model = _place(spec, parts, device, dtype)
    model.notes = notes
    if spec.lcm_lora is not None:
        _fuse_lcm(spec.lcm_lora, model, progress)
    return model


def _read(
    spec: ModelSpec, device: torch.device, dtype: torch.dtype, tiny_vae: str | None, progress: ProgressReporter
) -> Parts:
    """Read the model's parts, without its own VAE if a small one replaces it, where there is room for them."""
    skip = {"vae"} if tiny_vae is not None else set()

    def admit(files: Mapping[str, int]) -> None:
        check_room(spec.title, files, dtype, str(device))

    if spec.source.file is not None:
        with weight_loading_lock():
            return read_single_file(spec, dtype, skip, progress.part(0.0, 0.85))
    folder = spec.source.folder
    if spec.source.hub is not None:
        folder = hub.download(
            spec.source.hub,
            revision=spec.revision,
            variant=spec.variant,
            skip=skip,
            admit=admit,
            on_progress=progress.part(0, 0.7).say,
        )
        names = hub.choose_files(spec.id, hub.files_in(folder), spec.variant, skip)
        admit({name: (folder / name).stat().st_size for name in names})  # also where it had been downloaded before
    assert folder is not None
    with weight_loading_lock():
        return read_folder(spec, folder, dtype, skip, progress.part(0.7 if spec.source.hub else 0.0, 0.85))


def _fuse_lcm(source: str, model: Model, progress: ProgressReporter) -> None:
    """Fuse the LCM-LoRA into a model that has just been read.

    Raises:
        ArtflowError: ``model_load_failed`` where there is none for its family; what a LoRA may be refused for.
    """
    assert isinstance(model, UNetModel)
    if source == "auto":
        if model.text_width not in LCM_LORAS:
            raise refused(model.id, "there is an LCM-LoRA for SD 1.5 and SDXL, and it is neither")
        source = LCM_LORAS[model.text_width]
    path = Path(source).expanduser()
    if not path.is_file():
        repo, _, name = source.rpartition("/")
        progress.say("Looking for the LCM-LoRA", 0.96)
        path = hub.download_file(repo, name, largest=LARGEST_LORA)
    with weight_loading_lock():
        lora_weights.fuse(model, "lcm", path)


def _read_tiny_vae(source: str, progress: ProgressReporter) -> AutoencoderTiny:
    """The small autoencoder of a Hub id or a folder."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = hub.download_network(source, "vae", on_progress=progress.say)
    progress.say("Loading the tiny autoencoder", 1.0)
    variant, _ = require_weights(source, "vae", [p.name for p in folder.iterdir()], None)
    with weight_loading_lock():
        return read_vae(AutoencoderTiny, folder, variant)


def _check(spec: ModelSpec, parts: Parts) -> None:
    """Refuse a model that the engine cannot run, before it is moved to the device."""
    unet, vae = parts.unet.config, parts.vae
    assert vae is not None
    kind = family_of(parts)
    kind.check(spec, parts)
    if len(parts.tokenizers) != len(parts.text_encoders):
        raise refused(
            spec.id, f"it has {len(parts.text_encoders)} text encoders and {len(parts.tokenizers)} tokenizers"
        )
    latents = unet.out_channels
    if unet.in_channels not in (latents, 2 * latents + 1):  # with a mask and the masked picture: an inpaint model
        raise refused(spec.id, f"its UNet takes {unet.in_channels} channels and gives {latents}")
    if vae.config.latent_channels != latents:
        raise refused(spec.id, f"its VAE has {vae.config.latent_channels} latent channels, its UNet {latents}")
    prediction = parts.scheduler_config.get("prediction_type") or "epsilon"
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise refused(spec.id, f"its prediction_type is {prediction}; allowed are epsilon, v_prediction, sample")
    if spec.family not in ("auto", kind.family):
        raise refused(spec.id, f"the catalogue says it is of the {spec.family} family, and it is {kind.family}")


def _place(spec: ModelSpec, parts: Parts, device: torch.device, dtype: torch.dtype) -> Model:
    """Move all parts to the device, without gradients, convolutions in channels-last."""
    kind, vae = family_of(parts), parts.vae
    assert vae is not None
    vae.to(kind.vae_dtype_for(vae, dtype))
    for part in (parts.unet, vae):
        part.to(device, memory_format=memory_format(device))
    for encoder in parts.text_encoders:
        encoder.to(device, dtype)
    for part in (parts.unet, vae, *parts.text_encoders):
        part.requires_grad_(False).eval()
    for tokenizer, encoder in zip(parts.tokenizers, parts.text_encoders, strict=True):
        tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    return kind(
        spec=spec,
        unet=parts.unet,
        vae=vae,
        tokenizers=parts.tokenizers,
        text_encoders=parts.text_encoders,
        scheduler_config=parts.scheduler_config,
        device=device,
        dtype=dtype,
    )


def _reason(error: Exception) -> str:
    """The first line of a library's message, without a final full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")[:300]
