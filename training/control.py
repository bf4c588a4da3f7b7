"""``python -m training.control``: a ControlNet (2302.05543) for lines, white on black, on the distilled UNet.

The UNet's own encoder with a middle of one residual block, trained with the UNet frozen. Scenes with things anywhere
are drawn from pure noise, where only the lines say where; the rest of a batch starts from pictures, as img2img does,
and from what model and ControlNet drew themselves in one to three steps. Writes the averaged weights as a diffusers
folder with every checkpoint. Resumes from ``cache/control.pt``.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

from training.common import (
    CACHE,
    IMAGE_SIZE,
    LATENT_CHANNELS,
    POCKET,
    Average,
    Progress,
    device,
    load_checkpoint,
    mixed,
    save_checkpoint,
    seed_everything,
    warm_cosine,
)  # fmt: skip
from training.diffusion import CHANNELS
from training.distill import own_path
from training.export import load_generator
from training.latents import Ring
from training.noising import TIMESTEPS, Noise
from training.scribbles import scribble
from training.words import WIDTH

CHECKPOINT = CACHE / "control.pt"
FROM_NOISE, FROM_OWN = 0.65, 0.1  # of a batch; the rest starts from pictures
CANONICAL_SHARE = 0.25  # of the scenes: the others have things where only the lines say
SOURCE_SHARE = 0.6  # of the pictures to start from: a rough source instead of the scene itself
START = (240, 900)  # timesteps where img2img enters
PREFILL = 2  # batches of 64 fresh scenes before the first update


def build_control(unet: UNet2DConditionModel) -> ControlNetModel:
    """3.3 M parameters, the encoder's and the first middle block's copied from ``unet``."""
    control = ControlNetModel(
        in_channels=LATENT_CHANNELS, block_out_channels=CHANNELS, layers_per_block=1,
        down_block_types=unet.config.down_block_types, mid_block_type="UNetMidBlock2D", cross_attention_dim=WIDTH,
        attention_head_dim=unet.config.attention_head_dim, norm_num_groups=16, addition_embed_type="text",
        addition_embed_type_num_heads=4, resnet_time_scale_shift="scale_shift",
        conditioning_embedding_out_channels=(8, 16, 48, 96),
    )  # fmt: skip
    own = control.state_dict()
    own.update({name: value for name, value in unet.state_dict().items() if name in own})
    control.load_state_dict(own)
    if device().type == "cpu":
        control.set_attn_processor(AttnProcessor())
    return control.to(memory_format=torch.channels_last)


class Controlled(nn.Module):
    """Called as the UNet is, and answers as it does, with the ControlNet's residuals for ``lines`` added.

    ``lines`` [N, 3, 128, 128] in [0, 1] are the maps of the N samples of every call.
    """

    def __init__(self, unet: nn.Module, control: nn.Module, lines: torch.Tensor, weight: float = 1.0) -> None:
        super().__init__()
        self.unet, self.control, self.lines, self.weight = unet, control, lines, weight

    def forward(self, xt: torch.Tensor, t: torch.Tensor, words: torch.Tensor) -> UNet2DConditionOutput:
        down, middle = self.control(xt, t, words, self.lines, conditioning_scale=self.weight, return_dict=False)
        return self.unet(xt, t, words, down_block_additional_residuals=down, mid_block_additional_residual=middle)


def as_hint(maps: list[np.ndarray]) -> torch.Tensor:
    """Line maps [128, 128] uint8 -> [N, 3, 128, 128] in [0, 1], as diffusers' pipelines hand them over."""
    grey = torch.from_numpy(np.stack(maps)).float() / 255
    return grey[:, None].repeat(1, 3, 1, 1).to(device())


class Lesson:
    """The batches: a ring of scenes that keeps their pictures, so that lines are drawn again each time."""

    def __init__(self, capacity: int, seed: int) -> None:
        model = load_generator()
        self.text, self.noise = model.text.to(device()), Noise(device())
        self.ring, self.rng = Ring(model.vae.to(device()), capacity, seed), random.Random(seed)
        self.pictures = np.zeros((capacity, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)

    def fill(self, count: int) -> None:
        """Compose ``count`` fresh scenes."""
        slots, scenes = self.ring.fill(count)
        self.pictures[slots.cpu().numpy()] = np.stack([s.image for s in scenes])

    def batch(self, unet: nn.Module, control: nn.Module, count: int) -> tuple[torch.Tensor, ...]:
        """(xt, t, words, lines, x0 to predict)."""
        noisy, own = round(FROM_NOISE * count), round(FROM_OWN * count)
        slots = self.ring.draw(torch.rand(count, device=device()) < CANONICAL_SHARE)
        x0, source, ids = self.ring.read(slots)
        lines = as_hint([scribble(self.pictures[i], self.rng) for i in slots.tolist()])
        t = torch.randint(*START, (count,), device=device())
        t[:noisy] = TIMESTEPS - 1
        with torch.no_grad(), mixed():
            words = self.text(ids).last_hidden_state.float()
        rough = torch.rand(count, 1, 1, 1, device=device()) < SOURCE_SHARE
        xt = self.noise.add(torch.where(rough, source, x0), torch.randn_like(x0), t)
        if own:
            xt[-own:], t[-own:] = own_path(Controlled(unet, control, lines[-own:]), self.noise, words[-own:])
        return xt.contiguous(memory_format=torch.channels_last), t, words, lines, x0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500, help="updates in all; the decay is fitted to it")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--fresh", type=int, default=2, help="new scenes per update")
    parser.add_argument("--ring", type=int, default=4096, help="scenes kept encoded")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    parser.add_argument("--to", type=Path, default=POCKET / "controlnet")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    state = load_checkpoint(CHECKPOINT)
    step = state["step"] if state else 0
    seed_everything(step + 53)
    unet = load_generator().unet.to(device())
    control = build_control(unet).to(device())
    optimizer = torch.optim.AdamW(control.parameters(), lr=args.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = Average([control], decay=0.98)
    if state:
        control.load_state_dict(state["control"])
        optimizer.load_state_dict(state["optimizer"])
        average.modules[0].load_state_dict(state["average"])
    lesson = Lesson(args.ring, seed=step + 90_000)
    for _ in range(PREFILL):
        lesson.fill(64)
    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    while step < args.steps:
        lesson.fill(args.fresh)
        xt, t, words, lines, x0 = lesson.batch(unet, control, args.batch)
        with mixed():
            v = Controlled(unet, control, lines)(xt, t, words).sample
        loss = ((lesson.noise.x0(xt, v.float(), t) - x0) ** 2).mean()
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=30, hold=0.6)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(control.parameters(), 1.0)
        optimizer.step()
        step += 1
        average.update(step)
        progress.update(step, loss.item())
        if time.monotonic() - saved > args.save_every or step == args.steps:
            saved = time.monotonic()
            save_checkpoint(CHECKPOINT, {
                "step": step, "control": control.state_dict(), "average": average.modules[0].state_dict(),
                "optimizer": optimizer.state_dict(),
            })  # fmt: skip
            shipped = build_control(unet)
            shipped.load_state_dict(average.modules[0].state_dict())
            shipped.half().save_pretrained(args.to, safe_serialization=True)


if __name__ == "__main__":
    main()
