"""One ``.safetensors`` file in the layout of the original Stable Diffusion code (what checkpoint sites offer).

Such a file has no configs and no tokenizer. Those of what the families know ship in ``configs/``; for an unusual
architecture a catalogue entry names its own with ``source.config``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
from transformers import CLIPTokenizer

from artflow.models.catalog import ModelSpec
from artflow.models.checkpoint_file import UNET, VAE, read_tensors, survey
from artflow.models.families.checkpoint import CheckpointKind, Shapes
from artflow.models.families.known import checkpoint_kind
from artflow.models.parts import Parts
from artflow.models.progress import ProgressReporter
from artflow.models.weights import refused

CONFIGS = Path(__file__).with_name("configs")

UNET_INPUT = f"{UNET}input_blocks.0.0.weight"


def read_single_file(spec: ModelSpec, dtype: torch.dtype, skip: set[str], progress: ProgressReporter) -> Parts:
    """Read a checkpoint; the VAE is left out if it is in ``skip``, or not in the file.

    Raises ``ArtflowError("model_load_failed")`` for a file that is not a whole Stable Diffusion checkpoint.
    """
    path = spec.source.file
    assert path is not None
    progress.say(f"Reading {spec.title}", 0.0)
    shapes, metadata = survey(spec.id, path)
    kind = _kind(spec.id, shapes)
    config = spec.source.config or CONFIGS / kind.config
    described: dict[str, Any] = {"config": str(config), "local_files_only": True}
    tensors = read_tensors(spec.id, path, dtype, skip_vae="vae" in skip)
    progress.say(f"Loading {spec.title}: text encoders", 0.3)
    read_tower = partial(create_diffusers_clip_model_from_ldm, torch_dtype=dtype, **described)
    text_encoders = [
        _whole(spec.id, name, partial(read_tower, tower, dict(tensors), name))
        for tower, name in zip(kind.text_encoders, _names("text_encoder", kind), strict=True)
    ]
    progress.say(f"Loading {spec.title}: unet", 0.5)
    # Nine channels where it is an inpaint model; the rest is as in the others.
    read_unet = partial(UNet2DConditionModel.from_single_file, torch_dtype=dtype, in_channels=shapes[UNET_INPUT][1])
    unet = _whole(spec.id, "unet", partial(read_unet, tensors, subfolder="unet", **described))
    vae = None
    if any(name.startswith(VAE) for name in tensors):
        progress.say(f"Loading {spec.title}: vae", 0.9)
        read_vae = partial(AutoencoderKL.from_single_file, torch_dtype=torch.float32)
        vae = _whole(spec.id, "vae", partial(read_vae, tensors, subfolder="vae", **described))
    scheduler = json.loads((config / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    scheduler |= _prediction(spec, kind, shapes, metadata, unet)
    return Parts(unet, vae, _tokenizers(config, kind), text_encoders, scheduler)


def _whole(model: str, part: str, read: Callable[[], Any]) -> Any:
    """A part that got a value for each of its weights.

    Raises:
        ArtflowError: ``model_load_failed`` where the file lacks some.
    """
    try:
        network = read()
        missing = any(weight.is_meta for weight in network.parameters())
    except NotImplementedError:  # torch's, where weights without values are converted
        missing = True
    if missing:
        raise refused(model, f"some weights of its {part} are missing (a file that was cut short?)")
    return network


def _kind(model: str, shapes: Shapes) -> CheckpointKind:
    if UNET_INPUT not in shapes:
        raise refused(model, "it is not a Stable Diffusion checkpoint (a LoRA, a VAE or another kind of model?)")
    if (kind := checkpoint_kind(model, shapes)) is None:
        raise refused(model, "it has no text encoder (only the UNet of a model?)")
    return kind


def _names(part: str, kind: CheckpointKind) -> list[str]:
    """What diffusers calls a part that each text encoder has."""
    return [part, f"{part}_2"][: len(kind.pad_tokens)]


def clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """The tokenizer of CLIP: 49,408 tokens, 77 a prompt. SD 2 and SDXL's second tower pad with ``!``."""
    merges = gzip.decompress((CONFIGS / "clip_merges.txt.gz").read_bytes()).decode("utf-8").splitlines()
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *(m.replace(" ", "") for m in merges)]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    pairs = [tuple(m.split(" ")) for m in merges]
    return CLIPTokenizer(vocab=vocabulary, merges=pairs, pad_token=pad_token, model_max_length=77)


def _byte_letters() -> list[str]:
    """The printable letter that stands for each byte, in CLIP's order: printable bytes first."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def _tokenizers(config: Path, kind: CheckpointKind) -> list[CLIPTokenizer]:
    if (config / "tokenizer").is_dir():
        names = _names("tokenizer", kind)
        return [CLIPTokenizer.from_pretrained(config, subfolder=n, local_files_only=True) for n in names]
    return [clip_tokenizer(token) for token in kind.pad_tokens]


def _prediction(
    spec: ModelSpec, kind: CheckpointKind, shapes: Shapes, metadata: dict[str, str], unet: UNet2DConditionModel
) -> dict[str, Any]:
    """What the UNet predicts, as scheduler config entries, from the file's metadata or by a test run."""
    extra: dict[str, Any] = (
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}
    )
    said = metadata.get("modelspec.prediction_type", "")
    if "v_pred" in shapes or said.startswith("v"):
        return extra | {"prediction_type": "v_prediction"}
    if unet.config.in_channels > unet.config.out_channels:  # there are none that inpaint and predict velocity
        return extra
    is_known = said.startswith("epsilon") or spec.source.config is not None or spec.prediction_type != "auto"
    if is_known or kind.prediction_of is None:
        return extra
    return extra | {"prediction_type": kind.prediction_of(unet)}
