"""What a folder or a file gave, before it is checked and moved to the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


@dataclass
class Parts:
    """The parts of a `Model`, still on the CPU; without a VAE where another one takes its place."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny | None
    tokenizers: list[CLIPTokenizer]
    text_encoders: list[CLIPTextModel | CLIPTextModelWithProjection]
    scheduler_config: dict[str, Any]
