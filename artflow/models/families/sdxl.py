"""Stable Diffusion XL (2307.01952): two text towers, a pooled text, and the picture's size as a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from artflow.models.families.checkpoint import CheckpointKind, Shapes
from artflow.models.families.unet import UNetModel
from artflow.models.model import Condition
from artflow.models.parts import Parts
from artflow.models.weights import refused

if TYPE_CHECKING:
    from artflow.images import Size
    from artflow.models.catalog import ModelSpec


ONE_ENCODER = "it has one text encoder and SDXL needs two (a refiner cannot make pictures on its own)"
CHECKPOINT = CheckpointKind("sdxl", (CLIPTextModel, CLIPTextModelWithProjection), ("<|endoftext|>", "!"))


class StableDiffusionXL(UNetModel):
    """Its rows have ``pooled`` (width,) and ``time_ids`` (6,) as well."""

    family = "sdxl"
    lora_loader = StableDiffusionXLLoraLoaderMixin
    tiny_vae = "madebyollin/taesdxl"

    @classmethod
    def recognises(cls, parts: Parts) -> bool:
        return parts.unet.config.addition_embed_type == "text_time"

    @classmethod
    def check(cls, spec: ModelSpec, parts: Parts) -> None:
        super().check(spec, parts)
        if len(parts.text_encoders) != 2:
            raise refused(spec.id, ONE_ENCODER)

    @classmethod
    def checkpoint_kind(cls, model: str, shapes: Shapes) -> CheckpointKind | None:
        if "conditioner.embedders.1.model.ln_final.weight" in shapes:
            return CHECKPOINT
        if any(name.startswith("conditioner.embedders.") for name in shapes):
            raise refused(model, ONE_ENCODER)
        return None

    @classmethod
    def vae_dtype_for(cls, vae: Any, dtype: torch.dtype) -> torch.dtype:
        """SDXL's own VAE overflows in float16 and gives black pictures; its config says so with ``force_upcast``.

        SD 1 and 2 say the same only because it is the class's default. bfloat16 has the range of float32.
        """
        return torch.float32 if dtype == torch.float16 and vae.config.get("force_upcast") else dtype

    @torch.inference_mode()
    def prepare(self, conditions: Sequence[Condition]) -> list[dict[str, torch.Tensor]]:
        """An empty negative prompt is zeros, as SDXL's pipelines have it (``force_zeros_for_empty_prompt``)."""
        outputs = self.encode_texts(conditions, hidden=True)
        text = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1).to(self.dtype)
        pooled = outputs[-1][0].to(self.dtype)  # the last tower's projection
        for i, condition in enumerate(conditions):
            if condition.negative and not condition.prompt:
                text[i], pooled[i] = 0, 0
        return [{"text": text[i], "pooled": pooled[i]} for i in range(len(conditions))]

    def inputs(self, prepared: Mapping[str, torch.Tensor], size: Size, guidance: float) -> dict[str, torch.Tensor]:
        sizes = (size.height, size.width, 0, 0, size.height, size.width)  # original, crop's corner, target
        time_ids = torch.tensor(sizes, dtype=self.dtype, device=self.device)
        return {**super().inputs(prepared, size, guidance), "time_ids": time_ids}

    def added_conditions(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"text_embeds": inputs["pooled"], "time_ids": inputs["time_ids"]}
