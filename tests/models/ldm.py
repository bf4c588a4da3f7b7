"""Writes a diffusers model as one file in the layout of the original Stable Diffusion code."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from artflow.models.model import Model

Tensors = dict[str, torch.Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def write_checkpoint(
    model: Model, path: Path, *, open_clip: bool = False, metadata: dict[str, str] | None = None
) -> Path:
    """Write ``model`` (with an AutoencoderKL); ``open_clip`` stores the text tower of sd as SD 2.x does."""
    unet = {f"model.diffusion_model.{k}": v for k, v in _unet(model).items()}
    vae = {f"first_stage_model.{_vae_name(k)}": v for k, v in model.vae.state_dict().items()}
    towers = [{k.removeprefix("text_model."): v for k, v in t.state_dict().items()} for t in model.text_encoders]
    if model.family == "sdxl":
        text = _clip(towers[0], "conditioner.embedders.0.transformer.")
        text |= _open_clip(towers[1], "conditioner.embedders.1.model.")
    elif open_clip:
        text = _open_clip(towers[0], "cond_stage_model.model.")
    else:
        text = _clip(towers[0], "cond_stage_model.transformer.")
    tensors = {k: v.contiguous() for k, v in (unet | vae | text).items()}
    save_file(tensors, path, metadata=metadata)
    return path


def _unet(model: Model) -> Tensors:
    """Blocks in one list: layers and their down- or upsampler take one number each."""
    layers, levels = model.unet.config.layers_per_block, len(model.unet.config.block_out_channels)
    attentive = [t.startswith("Cross") for t in model.unet.config.up_block_types]
    result = {}
    for name, value in model.unet.state_dict().items():
        stem, _, rest = re.fullmatch(r"(\w+?_blocks\.\d+\.\w+\.\d+|mid_block\.\w+\.\d+|)(\.?)(.+)", name).groups()
        part = stem.split(".")
        if not stem:
            layer, suffix = rest.rsplit(".", 1)
            result[f"{UNET[layer]}.{suffix}"] = value
            continue
        kind, number = part[-2], int(part[-1])
        if kind == "resnets":
            layer, suffix = rest.rsplit(".", 1)
            rest = f"{RESNET[layer]}.{suffix}"
        column = 1 if kind == "attentions" else 0
        if part[0] == "mid_block":
            place = f"middle_block.{2 * number + column}"
        elif part[0] == "down_blocks" and kind == "downsamplers":
            place, rest = f"input_blocks.{(int(part[1]) + 1) * (layers + 1)}.0.op", rest.removeprefix("conv.")
        elif part[0] == "down_blocks":
            place = f"input_blocks.{1 + int(part[1]) * (layers + 1) + number}.{column}"
        elif kind == "upsamplers":
            block = int(part[1])
            place = f"output_blocks.{block * (layers + 1) + layers}.{2 if attentive[block] else 1}"
        else:
            place = f"output_blocks.{int(part[1]) * (layers + 1) + number}.{column}"
        result[f"{place}.{rest}"] = value
    assert len(result) == len(model.unet.state_dict()) and levels >= 2
    return result


def _vae_name(name: str) -> str:
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{3 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
    for ours, theirs in {
        "conv_shortcut": "nin_shortcut",
        "conv_norm_out": "norm_out",
        "group_norm": "norm",
        "to_out.0": "proj_out",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
    }.items():
        name = name.replace(ours, theirs)
    return name


def _clip(tower: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}text_model.{k}": v for k, v in tower.items()}


def _open_clip(tower: Tensors, prefix: str) -> Tensors:
    """Query, key and value in one matrix; the projection transposed."""
    result = {}
    for name, value in tower.items():
        if match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            number, layer, suffix = match.groups()
            block = f"transformer.resblocks.{number}"
            if layer == "self_attn.q_proj":
                parts = [tower[name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
                result[f"{block}.attn.in_proj_{suffix}"] = torch.cat(parts)
            elif layer in OPEN_CLIP:
                result[f"{block}.{OPEN_CLIP[layer]}.{suffix}"] = value
    result["positional_embedding"] = tower["embeddings.position_embedding.weight"]
    result["token_embedding.weight"] = tower["embeddings.token_embedding.weight"]
    result["ln_final.weight"] = tower["final_layer_norm.weight"]
    result["ln_final.bias"] = tower["final_layer_norm.bias"]
    if "text_projection.weight" in tower:
        result["text_projection"] = tower["text_projection.weight"].T
    return {f"{prefix}{k}": v for k, v in result.items()}
