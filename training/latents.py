"""A ring of encoded scenes, refilled a little every step, so that composing never holds up the denoiser."""

from __future__ import annotations

import random

import torch
from diffusers import AutoencoderTiny

from training.common import LATENT_CHANNELS, device
from training.data import composer, to_tensor
from training.words import LENGTH, load_tokenizer, token_ids


class Ring:
    """Latents of scene and source [capacity, C, 16, 16] and token ids; even slots hold canonical scenes."""

    def __init__(self, vae: AutoencoderTiny, capacity: int, seed: int) -> None:
        self.vae, self.scale, self.capacity = vae, vae.config.scaling_factor, capacity
        self.composer, self.rng = composer(seed), random.Random(seed)
        self.tokenizer = load_tokenizer()
        shape = (capacity, LATENT_CHANNELS, 16, 16)
        self.target = torch.zeros(shape, dtype=torch.float16, device=device())
        self.source = torch.zeros_like(self.target)
        self.ids = torch.zeros(capacity, LENGTH, dtype=torch.long, device=device())
        self.filled = 0

    @torch.no_grad()
    def fill(self, count: int) -> None:
        """Compose and encode ``count`` (even) fresh scenes over the oldest ones."""
        scenes = [self.composer.one(canonical=i % 2 == 0) for i in range(count)]
        pictures = to_tensor([s.image for s in scenes] + [s.source for s in scenes]).to(device())
        with torch.autocast(device().type, torch.bfloat16):
            latents = self.vae.encoder(pictures).float() * self.scale
        slots = torch.arange(self.filled, self.filled + count, device=device()) % self.capacity
        self.target[slots], self.source[slots] = latents[:count].half(), latents[count:].half()
        self.ids[slots] = token_ids(self.tokenizer, [s.caption for s in scenes]).to(device())
        self.filled += count

    def draw(self, canonical: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(target, source, ids) for a [N] bool mask that says which samples must be canonical."""
        half = min(self.filled, self.capacity) // 2
        index = 2 * torch.randint(0, half, canonical.shape, device=device())
        index = index + (~canonical).long()
        return self.target[index].float(), self.source[index].float(), self.ids[index]
