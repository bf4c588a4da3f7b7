"""One ``.safetensors`` file in the layout of the original Stable Diffusion code (what checkpoint sites offer).

Such a file has no configs and no tokenizer. Those of what the families know ship in ``configs/``; for an unusual
architecture a catalogue entry names its own with ``source.config``.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTokenizer

from artflow.models.catalog import ModelSpec
from artflow.models.families import checkpoint_kind
from artflow.models.families.checkpoint import CheckpointKind, Shapes
from artflow.models.parts import Parts
from artflow.models.progress import ProgressReporter
from artflow.models.weights import refused

CONFIGS = Path(__file__).with_name("configs")

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"


def read_single_file(spec: ModelSpec, dtype: torch.dtype, skip: set[str], progress: ProgressReporter) -> Parts:
    """Read a checkpoint; the VAE is left out if it is in ``skip``.

    Raises ``ArtflowError("model_load_failed")`` for a file that is not a whole Stable Diffusion checkpoint.
    """
    path = spec.source.file
    assert path is not None
    progress.say(f"Reading {spec.title}", 0.0)
    shapes, metadata = _survey(spec, path)
    kind = _kind(spec.id, shapes)
    config = spec.source.config or CONFIGS / kind.config
    tokenizers = _tokenizers(config, kind)
    vae = None
    if "vae" not in skip:
        vae = AutoencoderKL.from_single_file(
            str(path), config=str(config), subfolder="vae", local_files_only=True, torch_dtype=torch.float32
        )
    progress.say(f"Reading {spec.title}", 0.2)
    pipeline = kind.pipeline.from_single_file(
        str(path),
        config=str(config),
        local_files_only=True,
        torch_dtype=dtype,
        vae=vae,
        **dict(zip(_names("tokenizer", kind), tokenizers, strict=True)),
        **dict.fromkeys(kind.left_out),
    )
    text_encoders = [getattr(pipeline, name) for name in _names("text_encoder", kind)]
    scheduler = json.loads((config / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    scheduler |= _prediction(spec, kind, shapes, metadata, pipeline.unet)
    return Parts(pipeline.unet, vae, tokenizers, text_encoders, scheduler)


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


def _survey(spec: ModelSpec, path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Names and shapes of the tensors and the file's metadata, without reading the tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            return {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise refused(spec.id, f"{path.name} cannot be read as safetensors ({error})") from error


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
    is_known = said.startswith("epsilon") or spec.source.config is not None or spec.prediction_type != "auto"
    if is_known or kind.prediction_of is None:
        return extra
    return extra | {"prediction_type": kind.prediction_of(unet)}
