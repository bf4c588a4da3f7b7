"""Stable Diffusion 1.x and 2.x, their distilled kin, and the embedded model: one text tower."""

from __future__ import annotations

from artflow.models.families.unet import UNetModel
from artflow.models.parts import Parts


class StableDiffusion(UNetModel):
    """As `UNetModel` says."""

    family = "sd"

    @classmethod
    def recognises(cls, parts: Parts) -> bool:
        """Whatever is not SDXL; `check` refuses what is neither."""
        return parts.unet.config.addition_embed_type != "text_time"
