"""The few-step sampler that everything measures with: LCM's, exactly as the app runs it, at one row per step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from training.common import LATENT_CHANNELS
from training.noising import Noise, lcm_timesteps
from training.words import token_ids


@dataclass
class Generator:
    """Modules on the CPU, in float32; pictures are [N, 3, 128, 128] in [0, 1]."""

    unet: UNet2DConditionModel
    text: CLIPTextModel
    vae: AutoencoderTiny
    tokenizer: CLIPTokenizer

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[str],
        steps: int,
        seed: int,
        source: torch.Tensor | None = None,
        strength: float = 1.0,
    ) -> torch.Tensor:
        """x0 from v, then noised anew for the next timestep (LCM's multistep sampling, 2310.04378 algorithm 1)."""
        noise, generator = Noise(torch.device("cpu")), torch.Generator().manual_seed(seed)
        words = self.text(token_ids(self.tokenizer, prompts)).last_hidden_state
        shape = (len(prompts), LATENT_CHANNELS, 16, 16)
        latents = torch.randn(shape, generator=generator)
        timesteps = lcm_timesteps(steps, strength)
        if source is not None:
            start = torch.full((len(prompts),), timesteps[0])
            latents = noise.add(self.encode(source), latents, start)
        for i, step in enumerate(timesteps):
            t = torch.full((len(prompts),), step)
            latents = noise.x0(latents, self.unet(latents, t, words).sample, t)
            if i + 1 < len(timesteps):
                following = torch.full((len(prompts),), timesteps[i + 1])
                latents = noise.add(latents, torch.randn(shape, generator=generator), following)
        return self.decode(latents)

    @torch.no_grad()
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.vae.encoder(pictures * 2 - 1) * self.vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return (self.vae.decoder(latents / self.vae.config.scaling_factor).clamp(-1, 1) + 1) / 2
