"""A ring of encoded scenes, refilled a little every step, so that composing never holds up the denoiser.

Things that the denoiser still draws badly are drawn from it more often: new words catch up, and none is forgotten.
"""

from __future__ import annotations

import random

import torch
from diffusers import AutoencoderTiny

from training.common import LATENT_CHANNELS, device, mixed
from training.concepts import CONCEPTS
from training.data import composer, to_tensor
from training.scenes import Scene
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
        self.things = torch.zeros(capacity, dtype=torch.long, device=device())
        self.hardness = torch.ones(len(CONCEPTS), device=device())
        self.numbers = {c.name: i for i, c in enumerate(CONCEPTS)}
        self.filled = 0

    @torch.no_grad()
    def fill(self, count: int) -> tuple[torch.Tensor, list[Scene]]:
        """Compose and encode ``count`` (even) fresh scenes over the oldest ones: their slots, and the scenes."""
        scenes = [self.composer.one(canonical=i % 2 == 0) for i in range(count)]
        pictures = to_tensor([s.image for s in scenes] + [s.source for s in scenes]).to(device())
        latents = self.encode(pictures)
        slots = torch.arange(self.filled, self.filled + count, device=device()) % self.capacity
        self.target[slots], self.source[slots] = latents[:count].half(), latents[count:].half()
        self.ids[slots] = token_ids(self.tokenizer, [s.caption for s in scenes]).to(device())
        self.things[slots] = torch.tensor([self.numbers[s.names[-1]] for s in scenes], device=device())
        self.filled += count
        return slots, scenes

    @torch.no_grad()
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """[N, 3, 128, 128] in [-1, 1] -> latents [N, C, 16, 16]."""
        with mixed():
            return self.vae.encoder(pictures).float() * self.scale

    def draw(self, canonical: torch.Tensor) -> torch.Tensor:
        """Slots for a [N] bool mask that says which samples must be canonical, hard things more often."""
        share = self.hardness[self.things[: min(self.filled, self.capacity)]].view(-1, 2)
        even, odd = (torch.multinomial(share[:, side], len(canonical), replacement=True) for side in (0, 1))
        return torch.where(canonical, 2 * even, 2 * odd + 1)

    def read(self, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(target, source, ids)."""
        return self.target[slots].float(), self.source[slots].float(), self.ids[slots]

    def note(self, slots: torch.Tensor, errors: torch.Tensor) -> None:
        """What the denoiser's mean squared ``errors`` [N] were on ``slots`` [N]: a slow average for each thing."""
        things = self.things[slots]
        relative = (errors / errors.mean()).clamp(0.3, 3.0)
        self.hardness[things] = torch.lerp(self.hardness[things], relative, 0.03)
