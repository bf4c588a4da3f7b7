"""Stage 4, ``python -m training.distill``: the few-step finish, on the model's own path.

With few steps every step but the first starts from the model's own, softer picture, which teaching never showed: it
takes the softness for content and the picture decays from step to step. Here half of each batch starts from what the
model itself draws from noise in one step, noised anew as LCM's sampler does (2310.04378, algorithm 1), with the true
scene as the target; the other half is the teacher's own batch, so that img2img is kept. The text tower is frozen.
Resumes from ``cache/distill.pt``.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import nn

from training.common import (
    CACHE,
    Average,
    Progress,
    device,
    load_checkpoint,
    save_checkpoint,
    seed_everything,
    warm_cosine,
)
from training.diffusion import CHECKPOINT as TEACHER
from training.diffusion import MEET_EVERY, PREFILL, Batch, build_unet
from training.latents import Ring
from training.muon import over
from training.peers import Peer
from training.schedule import LCM_STEPS, TIMESTEPS, Noise
from training.vae import load as load_vae
from training.words import build_text_model, load_tokenizer, token_ids

CHECKPOINT = CACHE / "distill.pt"
GRID = TIMESTEPS // LCM_STEPS
NOISE_SHARE = 0.5  # of the teacher's half: the first step is what all others start from


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--fresh", type=int, default=6)
    parser.add_argument("--ring", type=int, default=12_000)
    parser.add_argument("--threads", type=int, default=1, help="2 only on an idle machine")
    parser.add_argument("--peer", choices=["a", "b"], help="one of two processes that share the work; b saves nothing")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save-every", type=float, default=120)
    return parser.parse_args()


def own_path(unet: nn.Module, noise: Noise, words: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(noised own one-step pictures [count, C, h, w], their timesteps [count] on LCM's grid below 900)."""
    last = torch.full((count,), TIMESTEPS - 1, device=words.device)
    start = torch.randn(count, unet.config.in_channels, 16, 16, device=words.device)  # type: ignore[union-attr]
    with torch.no_grad(), torch.autocast(words.device.type, torch.bfloat16):
        v = unet(start.contiguous(memory_format=torch.channels_last), last, words).sample.float()
    t = GRID * torch.randint(10, 45, (count,), device=words.device) - 1
    drawn = noise.x0(start, v, last)
    return noise.add(drawn, torch.randn_like(drawn), t), t


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    taught, state = load_checkpoint(TEACHER), load_checkpoint(CHECKPOINT)
    if taught is None:
        raise FileNotFoundError("run `python -m training.diffusion` first")
    step = state["step"] if state else 0
    seed = step + (500_000 if args.peer == "b" else 0)
    seed_everything(seed + 7)
    tokenizer = load_tokenizer()
    unet = build_unet().to(device())
    unet.load_state_dict(state["unet"] if state else taught["unet_average"])
    text = build_text_model(tokenizer).to(device()).eval().requires_grad_(False)
    text.load_state_dict(taught["text_average"])
    parameters = list(unet.parameters())
    optimizer = over(unet, args.rate)
    average = Average([unet], decay=0.98)
    if state:
        optimizer.load_state_dict(state["optimizer"])
        average.modules[0].load_state_dict(state["unet_average"])
    noise, ring = Noise(device()), Ring(load_vae(), args.ring, seed=seed + 50_000)
    for _ in range(PREFILL):
        ring.fill(64)
    empty = token_ids(tokenizer, [""]).to(device())
    denoise = torch.compile(unet) if args.compile else unet
    peer = Peer(CACHE, args.peer, "b" if args.peer == "a" else "a", parameters) if args.peer else None
    half = args.batch // 2

    def keep() -> None:
        if args.peer == "b":
            return
        save_checkpoint(
            CHECKPOINT,
            {
                "step": step,
                "unet": unet.state_dict(),
                "unet_average": average.modules[0].state_dict(),
                "optimizer": optimizer.state_dict(),
            },
        )

    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=30, hold=0.3)
        ring.fill(args.fresh)
        batch = Batch(ring, noise, half, empty, NOISE_SHARE)
        slots = ring.draw(torch.ones(half, dtype=torch.bool, device=device()))
        own, _, ids = ring.read(slots)
        with torch.no_grad(), torch.autocast(device().type, torch.bfloat16):
            words = text(torch.cat([batch.ids, ids])).last_hidden_state
        xt, t = own_path(unet, noise, words[half:], half)
        v = noise.v_to(own, xt, t)
        weight = torch.cat([batch.weight, noise.split(t)[1] ** 2])
        xt, t = torch.cat([batch.xt, xt]).contiguous(memory_format=torch.channels_last), torch.cat([batch.t, t])
        with torch.autocast(device().type, torch.bfloat16):
            output = denoise(xt, t, words).sample
        errors = (weight * (output.float() - torch.cat([batch.v, v])) ** 2).mean((1, 2, 3))
        loss = errors.mean()
        ring.note(slots, errors.detach()[half:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if peer and step % MEET_EVERY == 0:
            peer.meet()
        average.update(step)
        progress.update(step, loss.item())
        if time.monotonic() - saved > args.save_every:
            keep()
            saved = time.monotonic()
    keep()


if __name__ == "__main__":
    main()
