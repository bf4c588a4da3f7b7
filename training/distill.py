"""Stage 4, ``python -m training.distill``: the few-step finish, on the model's own path.

With few steps every step but the first starts from the model's own, softer picture, which teaching never showed: it
takes the softness for content and the picture decays from step to step. Here half of each batch starts from what the
model itself draws from noise in one to three steps, noised anew as LCM's sampler does (2310.04378, algorithm 1), with
the true scene as the target; the other half is the teacher's own batch, so that img2img is kept. The text tower is
trained along, gently: a new style's word must be told from the others while its look is learned.
Resumes from ``cache/distill.pt``.
"""

from __future__ import annotations

import torch
from torch import nn

from training.common import (
    CACHE,
    LATENT_CHANNELS,
    device,
    load_checkpoint,
    mixed,
    seed_everything,
    warm_cosine,
)
from training.diffusion import CHECKPOINT as TEACHER
from training.diffusion import PREFILL, Batch, build_unet
from training.latents import Ring
from training.loop import Run, arguments, stage_seed
from training.noising import LCM_STEPS, TIMESTEPS, Noise
from training.vae import load as load_vae
from training.words import build_text_model, load_tokenizer, token_ids

CHECKPOINT = CACHE / "distill.pt"
GRID = TIMESTEPS // LCM_STEPS
MOST_HOPS = 3  # of the model's own steps before the one that is taught: 4 steps are the most that ship
NEXT = (0.45, 0.9)  # of a timestep, where the next one is: 2 to 4 steps from pure noise all lie within
NOISE_SHARE = 0.5  # of the teacher's half: the first step is what all others start from


def own_path(denoise: nn.Module, noise: Noise, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(what the model drew of ``words`` in a few steps, noised anew [N, C, 16, 16]; timesteps [N] on LCM's grid)."""
    count, hops = len(words), int(torch.randint(1, MOST_HOPS + 1, ()))
    xt = torch.randn(count, LATENT_CHANNELS, 16, 16, device=words.device)
    t = torch.full((count,), TIMESTEPS - 1, device=words.device)
    for _ in range(hops):
        with torch.no_grad(), mixed():
            v = denoise(xt.contiguous(memory_format=torch.channels_last), t, words).sample.float()
        drawn = noise.x0(xt, v, t)
        share = torch.empty(count, device=words.device).uniform_(*NEXT)
        t = (GRID * ((t + 1) * share / GRID).round().long().clamp(min=2)) - 1
        xt = noise.add(drawn, torch.randn_like(drawn), t)
    return xt, t


def main() -> None:
    args = arguments(__doc__, steps=1200, rate=5e-4, ring=12_000).parse_args()
    torch.set_num_threads(args.threads)
    taught, state = load_checkpoint(TEACHER), load_checkpoint(CHECKPOINT)
    if taught is None:
        raise FileNotFoundError("run `python -m training.diffusion` first")
    seed = stage_seed(state["step"] if state else 0, args.peer)
    seed_everything(seed + 7)
    tokenizer = load_tokenizer()
    teacher = {"unet": taught["unet_average"], "text": taught["text_average"]}
    run = Run(args, build_unet().to(device()), build_text_model(tokenizer).to(device()), CHECKPOINT, state, teacher)
    noise, ring = Noise(device()), Ring(load_vae(), args.ring, seed=seed + 50_000)
    for _ in range(PREFILL):
        ring.fill(64)
    empty = token_ids(tokenizer, [""]).to(device())
    half = args.batch // 2
    while run.step < args.steps:
        ring.fill(args.fresh)
        batch = Batch(ring, noise, half, empty, NOISE_SHARE)
        slots = ring.draw(torch.ones(half, dtype=torch.bool, device=device()))
        own, _, ids = ring.read(slots)
        with mixed():
            words = run.text(torch.cat([batch.ids, ids])).last_hidden_state
        xt, t = own_path(run.denoise, noise, words[half:].detach())
        v = noise.v_to(own, xt, t)
        weight = torch.cat([batch.weight, noise.split(t)[1] ** 2])
        xt, t = torch.cat([batch.xt, xt]).contiguous(memory_format=torch.channels_last), torch.cat([batch.t, t])
        with mixed():
            output = run.denoise(xt, t, words).sample
        errors = (weight * (output.float() - torch.cat([batch.v, v])) ** 2).mean((1, 2, 3))
        ring.note(slots, errors.detach()[half:])
        run.update(errors.mean(), warm_cosine(run.step, args.steps, args.rate, hold=0.3))


if __name__ == "__main__":
    main()
