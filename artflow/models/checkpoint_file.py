"""The tensors of a single file, under the names and in the formats that diffusers converts.

The tools of the field write the same weights in many ways: in eight bits, with or without scales, with EMA copies
beside them, under older or newer names. All of that ends here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from artflow.models.families.checkpoint import Shapes
from artflow.models.weights import refused

UNET, VAE = "model.diffusion_model.", "first_stage_model."
PARTS = (UNET, VAE, "cond_stage_model.", "conditioner.embedders.")
"""What belongs to a model. The rest, as EMA copies of the UNet (``model_ema.``), is not read."""

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
SCALES = (".scale_weight", ".weight_scale")
"""What follows a layer's name where its eight-bit weight is to be multiplied (ComfyUI's scaled fp8)."""
OF_ACTIVATIONS = (".scale_input", ".input_scale")
"""Scales for computing in eight bits, which is not done here."""
FORMAT = ".comfy_quant"
"""How a layer is stored, as JSON in bytes."""

ATTENTION = re.compile(rf"({re.escape(VAE)}(?:encoder|decoder)\.mid\.attn_1)\.(.+)\.(weight|bias)")
ATTENTION_NAMES = {
    "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "group_norm": "norm",
    "query": "q", "key": "k", "value": "v", "proj_attn": "proj_out",
}  # fmt: skip
CLIP = "cond_stage_model.transformer."


def survey(model: str, path: Path) -> tuple[Shapes, dict[str, str]]:
    """Names and shapes of the tensors and the file's metadata, without reading the tensors.

    Raises:
        ArtflowError: ``model_load_failed`` for what is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise refused(model, f"{path.name} cannot be read as safetensors ({error})") from error


def read_tensors(model: str, path: Path, dtype: torch.dtype, skip_vae: bool) -> dict[str, torch.Tensor]:
    """The weights of the model's parts in floating point; those of eight bits in ``dtype``, scaled where that is said.

    Raises:
        ArtflowError: ``model_load_failed`` for weights in a format that is not known.
    """
    parts = tuple(part for part in PARTS if not (skip_vae and part == VAE))
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(parts)]  # noqa: SIM118
        scales = {name: file.get_tensor(name).float() for name in names if name.endswith(SCALES)}
        tensors: dict[str, torch.Tensor] = {}
        for name in names:
            if name in scales or name.endswith((*OF_ACTIVATIONS, ".scaled_fp8", ".position_ids")):
                continue
            tensor = file.get_tensor(name)
            if name.endswith(FORMAT):
                _check_format(model, name, tensor)
                continue
            layer = name.removesuffix(".weight")
            found = [scales[layer + suffix] for suffix in SCALES if name != layer and layer + suffix in scales]
            _check_stored(model, name, tensor)
            if found:
                tensor = _scaled(model, name, tensor, found[0]).to(dtype)
            elif tensor.dtype in FLOAT8:
                tensor = tensor.to(dtype)
            tensors[_usual_name(name)] = tensor
    return tensors


def _check_stored(model: str, name: str, tensor: torch.Tensor) -> None:
    last = name.rsplit(".", 1)[-1]
    unknown_scale = "scale" in last and last != "logit_scale"  # CLIP's own number
    if tensor.is_floating_point() and not unknown_scale:
        return
    kind = f"{name}, {str(tensor.dtype).removeprefix('torch.')}"
    known = "float32, float16, bfloat16, fp8 and scaled fp8"
    raise refused(model, f"its weights are quantized in a way that is not known ({kind}); known are {known}")


def _check_format(model: str, name: str, tensor: torch.Tensor) -> None:
    kind = json.loads(bytes(tensor.tolist())).get("format")
    if kind not in ("float8_e4m3fn", "float8_e5m2"):
        raise refused(model, f"{name} says {kind}, which is not known; known are float8_e4m3fn and float8_e5m2")


def _scaled(model: str, name: str, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The weight that is meant: one scale for all of it, or one for each of its rows."""
    if scale.numel() == 1:
        return weight.float() * scale.reshape(())
    if scale.numel() != len(weight):
        raise refused(model, f"{name} has {tuple(weight.shape)} weights and {tuple(scale.shape)} scales")
    return weight.float() * scale.reshape(-1, *[1] * (weight.dim() - 1))


def _usual_name(name: str) -> str:
    """The name in the original layout, of a tensor that newer or older tools call otherwise."""
    if match := ATTENTION.fullmatch(name):
        layer = match[2]
        return f"{match[1]}.{ATTENTION_NAMES.get(layer, layer)}.{match[3]}"
    if name.startswith(CLIP) and not name.startswith(f"{CLIP}text_model."):
        return f"{CLIP}text_model.{name.removeprefix(CLIP)}"
    return name
