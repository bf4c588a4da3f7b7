"""A family of models without a UNet, an autoencoder or a text tower: it paints what the prompt names in one colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DDIMScheduler

from artflow.images import Size
from artflow.models.catalog import ModelSpec
from artflow.models.model import Condition, Model
from tests.support.models import tiny_folder

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


@dataclass(eq=False)
class ColourModel(Model):
    """Latents are pictures of a quarter of the size, -1 to 1. ``calls`` are the batch sizes of its predictions.

    Rows have the input ``colour`` (3,); a condition with a ``border`` has ``border`` (2,), its width and brightness.
    """

    family = "colour"

    spec: ModelSpec = field(
        default_factory=lambda: ModelSpec(id="colour", source={"folder": str(tiny_folder())}, width=64, height=64)
    )
    scheduler_config: dict[str, Any] = field(
        default_factory=lambda: dict(DDIMScheduler(prediction_type="sample").config)
    )
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    calls: list[int] = field(default_factory=list)

    networks = compilable = ()
    latent_channels, vae_scale, memory_bytes = 3, 4, 0

    def prepare(self, conditions: Sequence[Condition]) -> list[dict[str, torch.Tensor]]:
        """The colour that is named; grey where none is. "framed" asks for a border."""
        prepared = []
        for prompt, _, _ in conditions:
            colour = next((rgb for name, rgb in COLOURS.items() if name in prompt), (127, 127, 127))
            inputs = {"colour": torch.tensor(colour) / 127.5 - 1}
            if "framed" in prompt:
                inputs["border"] = torch.tensor([2.0, 1.0])
            prepared.append(inputs)
        return prepared

    def inputs(self, prepared: Mapping[str, torch.Tensor], size: Size, guidance: float) -> dict[str, torch.Tensor]:
        """What was prepared."""
        return dict(prepared)

    def predict(
        self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The clean picture: the colour everywhere, and the border around it."""
        self.calls.append(len(latents))
        clean = inputs["colour"][:, :, None, None].expand_as(latents).clone()
        for row, (width, brightness) in zip(clean, inputs.get("border", ()), strict=False):
            edge = int(width)
            row[:, :edge] = row[:, -edge:] = brightness
        return clean

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Smaller."""
        return torch.nn.functional.avg_pool2d(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1, self.vae_scale)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Larger."""
        return latents.repeat_interleave(self.vae_scale, 2).repeat_interleave(self.vae_scale, 3)
