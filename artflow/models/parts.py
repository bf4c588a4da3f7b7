"""The parts of a model as read from a folder or file, before they are checked and moved to the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


@dataclass
class Parts:
    """The parts of a `Model` on the CPU; ``vae`` is missing where a small one replaces it."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny | None
    tokenizers: list[CLIPTokenizer]
    text_encoders: list[CLIPTextModel | CLIPTextModelWithProjection]
    scheduler_config: dict[str, Any]
