"""Stable Diffusion 1.x and 2.x, their distilled kin, and the embedded model: one text tower."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from transformers import CLIPTextModel

from artflow.models.families.checkpoint import CheckpointKind, Shapes
from artflow.models.families.unet import UNetModel
from artflow.models.parts import Parts


class StableDiffusion(UNetModel):
    """As `UNetModel` says."""

    family = "sd"
    lora_loader = StableDiffusionLoraLoaderMixin
    tiny_vae = "madebyollin/taesd"

    @classmethod
    def recognises(cls, parts: Parts) -> bool:
        """Whatever is not SDXL; `check` refuses what is neither."""
        return parts.unet.config.addition_embed_type != "text_time"

    @classmethod
    def checkpoint_kind(cls, model: str, shapes: Shapes) -> CheckpointKind | None:
        if not any(name.startswith("cond_stage_model.") for name in shapes):
            return None
        # The text encoder of SD 2 is OpenCLIP's, with names of its own.
        return SD2 if any(name.startswith("cond_stage_model.model.") for name in shapes) else SD1


@torch.inference_mode()
def _prediction_of(unet: UNet2DConditionModel) -> str:
    """What an SD 2.x UNet predicts. It is velocity if at the noisiest step its output differs from the input.

    The threshold is the one that Stable Diffusion web UI uses for the same question.
    """
    weight = next(unet.parameters())
    latents = torch.full((1, 4, 8, 8), 0.5, dtype=weight.dtype)
    context = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, dtype=weight.dtype)
    output = unet(latents, torch.tensor([999]), encoder_hidden_states=context).sample
    return "v_prediction" if (output - latents).float().mean().item() < -1 else "epsilon"


SD1 = CheckpointKind("sd15", (CLIPTextModel,), ("<|endoftext|>",))
SD2 = CheckpointKind("sd2", (CLIPTextModel,), ("!",), _prediction_of)
