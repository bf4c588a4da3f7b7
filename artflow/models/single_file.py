"""One ``.safetensors`` file in the layout of the original Stable Diffusion code (what checkpoint sites offer).

Such a file has no configs and no tokenizer. Those of the three families ship in ``configs/``; for an unusual
architecture a catalogue entry names its own with ``source.config``.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors import SafetensorError, safe_open
from transformers import CLIPTokenizer

from artflow.models.catalog import ModelSpec
from artflow.models.parts import Parts
from artflow.models.progress import ProgressReporter
from artflow.models.weights import refused

CONFIGS = Path(__file__).with_name("configs")

Kind = Literal["sd15", "sd2", "sdxl"]

UNET_INPUT = "model.diffusion_model.input_blocks.0.0.weight"
SECOND_TEXT = "conditioner.embedders.1."
FIRST_TEXT = ("cond_stage_model.", "conditioner.embedders.0.transformer.")


def read_single_file(spec: ModelSpec, dtype: torch.dtype, skip: set[str], progress: ProgressReporter) -> Parts:
    """Read a checkpoint; the VAE is left out if it is in ``skip``.

    Raises ``ArtflowError("model_load_failed")`` for a file that is not a whole Stable Diffusion checkpoint.
    """
    path = spec.source.file
    assert path is not None
    progress.say(f"Reading {spec.title}", 0.0)
    shapes, metadata = _survey(spec, path)
    kind = detect(spec.id, shapes)
    config = spec.source.config or CONFIGS / kind
    tokenizers = _tokenizers(config, kind)
    vae = None
    if "vae" not in skip:
        vae = AutoencoderKL.from_single_file(
            str(path), config=str(config), subfolder="vae", local_files_only=True, torch_dtype=torch.float32
        )
    progress.say(f"Reading {spec.title}", 0.2)
    pipeline_class = StableDiffusionXLPipeline if kind == "sdxl" else StableDiffusionPipeline
    absent: dict[str, Any] = {} if kind == "sdxl" else {"safety_checker": None, "feature_extractor": None}
    pipeline = pipeline_class.from_single_file(
        str(path),
        config=str(config),
        local_files_only=True,
        torch_dtype=dtype,
        vae=vae,
        **dict(zip(("tokenizer", "tokenizer_2"), tokenizers, strict=False)),
        **absent,
    )
    text_encoders = [pipeline.text_encoder] + ([pipeline.text_encoder_2] if kind == "sdxl" else [])
    scheduler = json.loads((config / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    scheduler |= _prediction(spec, kind, shapes, metadata, pipeline.unet)
    return Parts(pipeline.unet, vae, tokenizers, text_encoders, scheduler)


def detect(model: str, shapes: dict[str, tuple[int, ...]]) -> Kind:
    """The family of a checkpoint with these tensors (name to shape). Raises ``ArtflowError("model_load_failed")``."""
    if UNET_INPUT not in shapes:
        raise refused(model, "it is not a Stable Diffusion checkpoint (a LoRA, a VAE or another kind of model?)")
    if SECOND_TEXT + "model.ln_final.weight" in shapes:
        return "sdxl"
    if any(name.startswith("conditioner.embedders.0.model.") for name in shapes):
        raise refused(model, "it is an SDXL refiner, which cannot make pictures on its own")
    if not any(name.startswith(FIRST_TEXT) for name in shapes):
        raise refused(model, "it has no text encoder (only the UNet of a model?)")
    # The text encoder of SD 2 is OpenCLIP's, with names of its own.
    return "sd2" if any(name.startswith("cond_stage_model.model.") for name in shapes) else "sd15"


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


def _tokenizers(config: Path, kind: Kind) -> list[CLIPTokenizer]:
    names = ["tokenizer", "tokenizer_2"] if kind == "sdxl" else ["tokenizer"]
    if (config / "tokenizer").is_dir():
        return [CLIPTokenizer.from_pretrained(config, subfolder=n, local_files_only=True) for n in names]
    pads = {"sd15": ["<|endoftext|>"], "sd2": ["!"], "sdxl": ["<|endoftext|>", "!"]}[kind]
    return [clip_tokenizer(pad) for pad in pads]


def _survey(spec: ModelSpec, path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Names and shapes of the tensors and the file's metadata, without reading the tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            return {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise refused(spec.id, f"{path.name} cannot be read as safetensors ({error})") from error


def _prediction(
    spec: ModelSpec, kind: Kind, shapes: dict[str, Any], metadata: dict[str, str], unet: UNet2DConditionModel
) -> dict[str, Any]:
    """What the UNet predicts, as scheduler config entries, from the file's metadata or by a test run."""
    extra: dict[str, Any] = (
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}
    )
    said = metadata.get("modelspec.prediction_type", "")
    if "v_pred" in shapes or said.startswith("v"):
        return extra | {"prediction_type": "v_prediction"}
    if said.startswith("epsilon") or kind != "sd2" or spec.source.config is not None or spec.prediction_type != "auto":
        return extra
    return extra | {"prediction_type": "v_prediction" if _predicts_velocity(unet) else "epsilon"}


@torch.inference_mode()
def _predicts_velocity(unet: UNet2DConditionModel) -> bool:
    """Whether an SD 2.x checkpoint predicts velocity: at the noisiest step its output differs from the input.

    The threshold is the one that Stable Diffusion web UI uses for the same question.
    """
    weight = next(unet.parameters())
    latents = torch.full((1, 4, 8, 8), 0.5, dtype=weight.dtype)
    context = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, dtype=weight.dtype)
    output = unet(latents, torch.tensor([999]), encoder_hidden_states=context).sample
    return (output - latents).float().mean().item() < -1
