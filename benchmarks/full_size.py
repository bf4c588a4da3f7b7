"""Models of real size with random weights, in memory: speed does not depend on what the weights know.

For benchmarks only. The configs are those of the real models (``configs/``); the weights are drawn so that activations
keep their scale, because zeros, infinities and denormals would compute faster or slower than a real model does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
)

from artflow.models.catalog import ModelSpec, Source
from artflow.models.clip import Towers
from artflow.models.families.sd import StableDiffusion
from artflow.models.families.sdxl import StableDiffusionXL
from artflow.models.families.unet import UNetModel
from artflow.models.single_file import CONFIGS, clip_tokenizer
from artflow.models.weight_loading import weight_loading_lock

Kind = Literal["sd15", "sd-turbo", "sdxl"]

FOLDERS = {"sd15": "sd15", "sd-turbo": "sd2", "sdxl": "sdxl"}


@torch.no_grad()
def build_full_size(
    kind: Kind = "sd-turbo",
    *,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    vae: Literal["tiny", "kl"] = "tiny",
    text_layers: int | None = 2,
    seed: int = 0,
) -> UNetModel:
    """A `Model` as `load_model` would give it: UNet of 860 M (sd15), 866 M (sd-turbo) or 2.6 G weights (sdxl).

    ``vae="tiny"`` is TAESD's architecture. The text towers have their real width and ``text_layers`` layers
    (``None``: all): a prompt is encoded once, so depth costs memory there and says nothing about frames. Built on
    ``device`` directly.
    """
    folder = CONFIGS / FOLDERS[kind]
    generator = torch.Generator(device).manual_seed(seed)

    def build(make: Callable[[], Any]) -> Any:
        return _built(make, device, dtype, generator)

    def text(name: str, cls: type) -> Any:
        config = CLIPTextConfig.from_pretrained(folder, subfolder=name)
        config.num_hidden_layers = text_layers or config.num_hidden_layers
        return build(lambda: cls(config))

    unet_config = UNet2DConditionModel.load_config(folder, subfolder="unet")
    vae_config = AutoencoderKL.load_config(folder, subfolder="vae")
    sdxl = kind == "sdxl"
    scheduler = {
        "_class_name": "EulerDiscreteScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "leading" if kind == "sd15" else "trailing",
    }
    towers = [text("text_encoder", CLIPTextModel)]
    if sdxl:
        towers.append(text("text_encoder_2", CLIPTextModelWithProjection))
    kind_of = StableDiffusionXL if sdxl else StableDiffusion
    return kind_of(
        spec=ModelSpec(
            id=f"random/{kind}",
            name=f"{kind}, random weights",
            source=Source(folder=folder),
            width=512,
            height=512,
        ),
        unet=build(lambda: UNet2DConditionModel.from_config(unet_config)).to(memory_format=torch.channels_last),
        vae=build(AutoencoderTiny if vae == "tiny" else lambda: AutoencoderKL.from_config(vae_config)).to(
            memory_format=torch.channels_last
        ),
        tokenizers=[clip_tokenizer() for _ in towers],
        text_encoders=towers,
        scheduler_config=scheduler,
        device=torch.device(device),
        dtype=dtype,
    )


@torch.no_grad()
def build_full_size_clip(seed: int = 0) -> Towers:
    """Towers of the size of CLIP ViT-L/14 (428 M weights) on the CPU, float32, as `load_towers` would give them."""
    shared = {"num_hidden_layers": 12, "projection_dim": 768}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12} | shared
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "patch_size": 14}
    config = CLIPConfig(text_config=text, vision_config=vision | shared | {"num_hidden_layers": 24}, projection_dim=768)
    model = _built(lambda: CLIPModel(config), "cpu", torch.float32, torch.Generator().manual_seed(seed))
    return Towers("random/clip", model, clip_tokenizer(), CLIPImageProcessorPil())


def _built(make: Callable[[], Any], device: str, dtype: torch.dtype, generator: torch.Generator) -> Any:
    with torch.device("meta"):
        module = make()
    with weight_loading_lock():
        module = module.to(dtype).to_empty(device=device)
    _fill(module, generator)
    return module.requires_grad_(False).eval()


def _fill(module: nn.Module, generator: torch.Generator) -> None:
    """Weights that keep the variance of what goes through; norms as they start; no biases; real position ids."""
    for name, buffer in module.named_buffers():
        assert name.endswith("position_ids"), name
        buffer.copy_(torch.arange(buffer.shape[-1]))
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if name == "bias":
                weight.zero_()
            elif weight.dim() < 2:
                weight.fill_(1.0)
            else:
                fan_in = weight[0].numel()
                weight.normal_(0.0, fan_in**-0.5, generator=generator)
