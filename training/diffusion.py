"""Stage 3, ``python -m training.diffusion``: the text tower and the UNet, trained together from nothing.

v-prediction on a zero-terminal-SNR schedule (2202.00512, 2305.08891). Noisy steps see canonical scenes; a part of the
middle steps starts from rough sources instead of the scene itself, which is what live img2img does. Resumes from
``cache/diffusion.pt``; ``--steps`` may be given anew at any time and refits the learning rate's decay.
"""

from __future__ import annotations

import argparse
import time

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from training.common import (
    CACHE,
    LATENT_CHANNELS,
    Average,
    Progress,
    device,
    load_checkpoint,
    save_checkpoint,
    seed_everything,
    warm_cosine,
)  # fmt: skip
from training.latents import Ring
from training.muon import over
from training.peers import Peer
from training.schedule import Noise
from training.vae import load as load_vae
from training.words import WIDTH, build_text_model, load_tokenizer, token_ids

CHECKPOINT = CACHE / "diffusion.pt"
CHANNELS = (64, 96, 192)
CANONICAL_FROM = 850  # above this t hardly anything of a source is left, so layout comes from the words alone
SOURCE_RANGE, SOURCE_SHARE = (240, 900), 0.25  # where live img2img enters, strengths 0.3 to 0.9
TEXT_RATE = 0.2  # of the UNet's learning rate: the words' own directions must not collapse
MEET_EVERY = 16  # updates between two meetings of peers
PREFILL = 16  # batches of 64 fresh scenes before the first update


def build_unet() -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, block_out_channels=CHANNELS,
        layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=WIDTH,
        attention_head_dim=tuple(c // 32 for c in CHANNELS), norm_num_groups=16, addition_embed_type="text",
        addition_embed_type_num_heads=4, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    if device().type == "cpu":  # for so few tokens the fused kernel's backward takes longer than all else together
        unet.set_attn_processor(AttnProcessor())
    return unet.to(memory_format=torch.channels_last)


def sample_timesteps(count: int, noise_share: float) -> torch.Tensor:
    """[N]: ``noise_share`` pure noise (one step must do), a tenth of the rest nearly clean, else few steps' range."""
    t = torch.randint(200, 1000, (count,))
    pick = torch.rand(count)
    t = torch.where(pick < noise_share, torch.full_like(t, 999), t)
    return torch.where(pick > 0.9 + 0.1 * noise_share, torch.randint(0, 200, (count,)), t).to(device())


class Batch:
    """One training batch: noised latents, timesteps, token ids, the v to predict and each sample's weight."""

    def __init__(
        self, ring: Ring, noise: Noise, count: int, empty: torch.Tensor, noise_share: float, on_grid: int = 1
    ) -> None:
        self.t = torch.div(sample_timesteps(count, noise_share), on_grid, rounding_mode="floor") * on_grid + on_grid - 1
        canonical = (self.t >= CANONICAL_FROM) | (torch.rand(count, device=device()) < 0.45)
        self.slots = ring.draw(canonical)
        self.x0, source, self.ids = ring.read(self.slots)
        low, high = SOURCE_RANGE
        rough = (self.t >= low) & (self.t < high) & (torch.rand(count, device=device()) < SOURCE_SHARE)
        self.start = torch.where(rough[:, None, None, None], source, self.x0)
        self.xt = noise.add(self.start, torch.randn_like(self.x0), self.t).contiguous(memory_format=torch.channels_last)
        self.v = noise.v_to(self.x0, self.xt, self.t)
        # v's error is x0's over sigma: where no noise explains the gap to a rough source, count x0's error itself
        sigma = noise.split(self.t)[1]
        self.weight = torch.where(rough[:, None, None, None], sigma**2, torch.ones_like(sigma))
        self.ids = torch.where(torch.rand(count, 1, device=device()) < 0.1, empty, self.ids)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000, help="updates in all; the decay is fitted to it")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--noise-share", type=float, default=0.25, help="samples at the last timestep; see the README")
    parser.add_argument("--fresh", type=int, default=6, help="new scenes per update")
    parser.add_argument("--ring", type=int, default=24_000, help="scenes kept encoded")
    parser.add_argument("--threads", type=int, default=1, help="2 only on an idle machine")
    parser.add_argument("--peer", choices=["a", "b"], help="one of two processes that share the work; b saves nothing")
    parser.add_argument("--compile", action="store_true", help="fuse the UNet's kernels (100 s to start, then faster)")
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    state = load_checkpoint(CHECKPOINT)
    step = start = state["step"] if state else 0
    resumed = state is not None and "muon" in state.get("optimizer", {})
    seed = step + (500_000 if args.peer == "b" else 0)
    seed_everything(seed + 1)
    tokenizer = load_tokenizer()
    unet, text = build_unet().to(device()), build_text_model(tokenizer).to(device())
    if state:
        unet.load_state_dict(state["unet"])
        text.load_state_dict(state["text"])
    parameters = [*unet.parameters(), *text.parameters()]
    optimizer = over(unet, args.rate, [{"params": list(text.parameters()), "scale": TEXT_RATE}])
    average = Average([unet, text], decay=0.99)
    if state:
        if resumed:
            optimizer.load_state_dict(state["optimizer"])
        average.modules[0].load_state_dict(state["unet_average"])
        average.modules[1].load_state_dict(state["text_average"])
    noise = Noise(device())
    empty = token_ids(tokenizer, [""]).to(device())
    ring = Ring(load_vae(), args.ring, seed=seed + 100)
    for _ in range(PREFILL):
        ring.fill(64)
    denoise = torch.compile(unet) if args.compile else unet
    peer = Peer(CACHE, args.peer, "b" if args.peer == "a" else "a", parameters) if args.peer else None

    def keep() -> None:
        if args.peer == "b":
            return
        save_checkpoint(CHECKPOINT, {
            "step": step, "unet": unet.state_dict(), "text": text.state_dict(), "optimizer": optimizer.state_dict(),
            "unet_average": average.modules[0].state_dict(), "text_average": average.modules[1].state_dict(),
        })  # fmt: skip

    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    while step < args.steps:
        for group in optimizer.param_groups:
            fresh = 1.0 if resumed else min(1.0, (step - start + 1) / 150)  # while it has no moments
            group["lr"] = warm_cosine(step, args.steps, args.rate, hold=0.7) * group["scale"] * fresh
        ring.fill(args.fresh)
        batch = Batch(ring, noise, args.batch, empty, args.noise_share)
        with torch.autocast(device().type, torch.bfloat16):
            words = text(batch.ids).last_hidden_state
            output = denoise(batch.xt, batch.t, words).sample
        errors = (batch.weight * (output.float() - batch.v) ** 2).mean((1, 2, 3))
        loss = errors.mean()
        from_noise = batch.t >= CANONICAL_FROM
        ring.note(batch.slots[from_noise], errors.detach()[from_noise])
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
