"""LoRA files with seeded random weights, in the formats of the field, and what they amount to by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

UNET_LAYERS = re.compile(r".*(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|conv1|conv2|time_emb_proj|ff\.net\.0\.proj)")
TEXT_LAYERS = re.compile(r".*(q_proj|k_proj|v_proj|out_proj|fc1|fc2)")
KOHYA = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}

Format = Literal["diffusers", "kohya", "dotted", "peft"]


def write_lora(
    path: Path,
    networks: Mapping[str, nn.Module],
    *,
    seed: int = 0,
    ranks: tuple[int, ...] = (4,),
    alphas: tuple[float | None, ...] = (None,),
    format: Format = "diffusers",
    strength: float = 0.3,
    layers: re.Pattern[str] = UNET_LAYERS,
) -> Path:
    """A LoRA for networks by what diffusers calls them (``unet``, ``text_encoder``, ``text_encoder_2``).

    Ranks and alphas are given to the layers in turn; an alpha of None is left out, which means the rank.
    """
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for part, network in networks.items():
        wanted = layers if part == "unet" else TEXT_LAYERS
        named = [(n, m) for n, m in network.named_modules() if wanted.fullmatch(n)]
        found = [(n, m) for n, m in named if isinstance(m, nn.Linear | nn.Conv2d)]
        for i, (name, layer) in enumerate(found):
            rank, alpha = ranks[i % len(ranks)], alphas[i % len(alphas)]
            down, up = _shapes(layer, rank)
            first = torch.randn(down, generator=generator) / down[1] ** 0.5
            second = torch.randn(up, generator=generator) * strength
            tensors |= _named(part, name, format, first, second, alpha, two="text_encoder_2" in networks)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return path


def _shapes(layer: nn.Module, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(layer, nn.Conv2d):
        return (rank, layer.in_channels, *layer.kernel_size), (layer.out_channels, rank, 1, 1)
    assert isinstance(layer, nn.Linear)
    return (rank, layer.in_features), (layer.out_features, rank)


def _named(
    part: str, name: str, format: Format, first: torch.Tensor, second: torch.Tensor, alpha: float | None, *, two: bool
) -> dict[str, Any]:
    if part != "unet" and not name.startswith("text_model."):
        name = f"text_model.{name}"
    if format == "diffusers":
        return {f"{part}.{name}.lora_A.weight": first, f"{part}.{name}.lora_B.weight": second}
    if format == "peft":
        return {f"base_model.model.{name}.lora_A.weight": first, f"base_model.model.{name}.lora_B.weight": second}
    prefix = "lora_te1" if two and part == "text_encoder" else KOHYA[part]
    layer = f"{prefix}_{name.replace('.', '_')}" if format == "kohya" else f"{prefix}.{name}"
    more = {} if alpha is None else {f"{layer}.alpha": torch.tensor(alpha)}
    return {f"{layer}.lora_down.weight": first, f"{layer}.lora_up.weight": second} | more
