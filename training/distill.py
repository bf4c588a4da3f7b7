"""Stage 4, ``python -m training.distill``: latent consistency distillation for 1 to 4 steps (2310.04378).

The student's picture at t must agree with its own averaged picture one teacher step earlier. The teacher steps with
guidance, so that the student needs none: one UNet row per step. Resumes from ``cache/distill.pt``.
"""

from __future__ import annotations

import argparse
import copy
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
)  # fmt: skip
from training.diffusion import CHECKPOINT as TEACHER
from training.diffusion import PREFILL, Batch, build_unet
from training.latents import Ring
from training.schedule import LCM_STEPS, TIMESTEPS, Noise
from training.vae import load as load_vae
from training.words import build_text_model, load_tokenizer, token_ids

CHECKPOINT = CACHE / "distill.pt"
GRID = TIMESTEPS // LCM_STEPS


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--guidance", type=float, default=1.7)
    parser.add_argument("--skip", type=int, default=2, help="teacher step, in cells of the 50-step grid")
    parser.add_argument("--fresh", type=int, default=6)
    parser.add_argument("--ring", type=int, default=12_000)
    parser.add_argument("--threads", type=int, default=1, help="2 only on an idle machine")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save-every", type=float, default=120)
    return parser.parse_args()


def pseudo_huber(error: torch.Tensor, c: float = 0.03) -> torch.Tensor:
    """Per-element sqrt(e^2 + c^2) - c (2310.14189): quadratic near 0, linear far out. Same shape as ``error``."""
    return (error**2 + c**2).sqrt() - c


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    teacher_state, state = load_checkpoint(TEACHER), load_checkpoint(CHECKPOINT)
    if teacher_state is None:
        raise FileNotFoundError("run `python -m training.diffusion` first")
    step = state["step"] if state else 0
    seed_everything(step + 7)
    tokenizer = load_tokenizer()
    teacher = build_unet().to(device())
    teacher.load_state_dict(teacher_state["unet_average"])
    student = copy.deepcopy(teacher)
    text = build_text_model(tokenizer).to(device()).eval().requires_grad_(False)
    text.load_state_dict(teacher_state["text_average"])
    teacher.eval().requires_grad_(False)
    parameters = list(student.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, betas=(0.9, 0.99), weight_decay=0, fused=True)
    if state:
        student.load_state_dict(state["unet"])
        optimizer.load_state_dict(state["optimizer"])
    average = Average([student], decay=0.98)
    if state:
        average.modules[0].load_state_dict(state["unet_average"])
    noise, ring = Noise(device()), Ring(load_vae(), args.ring, seed=step + 50_000)
    for _ in range(PREFILL):
        ring.fill(64)
    empty = token_ids(tokenizer, [""]).to(device())
    nothing = text(empty).last_hidden_state
    live, fixed, mean = student, teacher, average.modules[0]
    if args.compile:
        live, fixed, mean = torch.compile(student), torch.compile(teacher), torch.compile(mean)

    def keep() -> None:
        save_checkpoint(CHECKPOINT, {
            "step": step, "unet": student.state_dict(), "unet_average": average.modules[0].state_dict(),
            "optimizer": optimizer.state_dict(),
        })  # fmt: skip

    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=30)
        ring.fill(args.fresh)
        batch = Batch(ring, noise, args.batch, empty, 0.2, on_grid=GRID)
        earlier = torch.where(batch.t == GRID - 1, -1, (batch.t - args.skip * GRID).clamp(min=GRID - 1))
        with torch.autocast(device().type, torch.bfloat16):
            with torch.no_grad():
                words = text(batch.ids).last_hidden_state
                told = fixed(batch.xt, batch.t, words).sample.float()
                untold = fixed(batch.xt, batch.t, nothing.expand_as(words)).sample.float()
            output = live(batch.xt, batch.t, words).sample
        with torch.no_grad():
            v = untold + args.guidance * (told - untold)
            clean = noise.x0(batch.xt, v, batch.t)
            # one DDIM step (2010.02502) of the guided teacher
            before = noise.add(clean, noise.epsilon(batch.xt, v, batch.t), earlier)
            before = before.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device().type, torch.bfloat16):
                v_before = mean(before, earlier.clamp(min=0), words).sample.float()
            target = noise.x0(before, v_before, earlier.clamp(min=0))
            target = torch.where((earlier < 0)[:, None, None, None], clean, target)
        loss = pseudo_huber(noise.x0(batch.xt, output.float(), batch.t) - target).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        average.update(step)
        progress.update(step, loss.item())
        if time.monotonic() - saved > args.save_every:
            keep()
            saved = time.monotonic()
    keep()


if __name__ == "__main__":
    main()
