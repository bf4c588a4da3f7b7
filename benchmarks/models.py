"""The models that are timed, each in float32 and in the format that ArtFlow would choose here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, LCMScheduler, StableDiffusionPipeline

from artflow.engine.runner import Runner
from artflow.models.catalog import load_catalog
from artflow.models.dtypes import pick_device, pick_dtype
from artflow.models.families.unet import UNetModel
from artflow.models.loader import load_model
from artflow.models.packing import pack
from benchmarks.full_size import build_full_size


@dataclass(frozen=True)
class Subject:
    """One model: ``plain`` in float32 (float16 on a GPU) for the peers, ``ours`` in ArtFlow's choice; and its side."""

    name: str
    side: int
    plain: UNetModel
    ours: UNetModel

    def runner(self) -> Runner:
        """A runner over our copy, as the app makes it."""
        pack(self.ours)
        return Runner(self.ours)

    def diffusers_pipeline(self) -> StableDiffusionPipeline:
        """The peers' copy as diffusers has it."""
        model = self.plain
        kind = LCMScheduler if model.live_schedule == "lcm" else DDIMScheduler
        return StableDiffusionPipeline(
            vae=model.vae, text_encoder=model.text_encoders[0], tokenizer=model.tokenizers[0], unet=model.unet,
            scheduler=kind.from_config(model.scheduler_config), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        )  # fmt: skip


def subject(name: str) -> Subject:
    """``sd-turbo`` (its size, random weights; 256 px on a CPU, 512 px on a GPU) or ``pocket`` (as it ships)."""
    device = pick_device()
    plain = torch.float32 if device == "cpu" else torch.float16
    chosen = pick_dtype("auto", device)
    if name == "sd-turbo":
        side = 256 if device == "cpu" else 512
        return Subject(
            name,
            side,
            build_full_size("sd-turbo", device=device, dtype=plain),
            build_full_size("sd-turbo", device=device, dtype=chosen),
        )
    spec = load_catalog().get(name)
    return Subject(
        name,
        spec.width,
        load_model(spec, device=device, dtype=plain),
        load_model(spec, device=device, dtype=chosen),
    )
