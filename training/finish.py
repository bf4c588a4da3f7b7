"""Stage 5, ``python -m training.finish``: the decoder learns to read what the denoiser writes.

A latent that is nearly right decodes to blotches, because the codec has only ever seen latents of real pictures. Here
half of each batch are latents that the denoiser itself draws of canonical captions, in one step or after a second one,
and the picture that the caption means is the target; the other half are real pictures, so that the codec stays one.
The encoder is frozen: no latent changes. Resumes from ``cache/vae_decoder.pt``.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import nn

from training.common import (
    CACHE,
    LATENT_CHANNELS,
    Progress,
    device,
    load_checkpoint,
    psnr,
    save_checkpoint,
    seed_everything,
    sheet,
    warm_cosine,
)
from training.data import composer, held_out, to_tensor
from training.export import load_generator
from training.generate import Generator
from training.muon import over
from training.noising import TIMESTEPS, Noise, lcm_timesteps
from training.vae import Crops, reconstruct, reconstruction_loss, sample_photos
from training.words import token_ids

CHECKPOINT = CACHE / "vae_decoder.pt"


class Drawn:
    """Latents [N, C, 16, 16] that the denoiser draws of canonical captions, and what they should decode to."""

    def __init__(self, model: Generator, seed: int) -> None:
        self.model, self.scenes, self.noise = model, composer(seed), Noise(device())

    @torch.no_grad()
    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents as the decoder takes them, pictures [N, 3, 128, 128] in [-1, 1])."""
        model, scenes = self.model, [self.scenes.one(canonical=True) for _ in range(count)]
        words = model.text(token_ids(model.tokenizer, [s.caption for s in scenes]).to(device())).last_hidden_state
        latents = torch.randn(count, LATENT_CHANNELS, 16, 16, device=device())
        last = torch.full((count,), TIMESTEPS - 1, device=device())
        with torch.autocast(device().type, torch.bfloat16):
            latents = self.noise.x0(latents, model.unet(latents, last, words).sample.float(), last)
            if torch.rand(()) < 0.5:
                later = lcm_timesteps(4)[1:]
                t = torch.full((count,), later[int(torch.randint(len(later), ()))], device=device())
                noisy = self.noise.add(latents, torch.randn_like(latents), t)
                latents = self.noise.x0(noisy, model.unet(noisy, t, words).sample.float(), t)
        return latents / model.vae.config.scaling_factor, to_tensor([s.image for s in scenes]).to(device())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8, help="drawn pictures a step, and as many real ones in crops")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--real", type=float, default=40, help="weight of the squared error on real pictures")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    state = load_checkpoint(CHECKPOINT)
    step = state.get("finish_step", 0) if state else 0
    seed_everything(step + 31)
    model = load_generator()  # with the polished decoder, where there is one
    model.unet.to(device())
    model.text.to(device())
    vae = model.vae.to(device(), memory_format=torch.channels_last)
    decoder = list(vae.decoder.requires_grad_(True).parameters())
    optimizer = over(vae.decoder, args.rate)
    if step:
        optimizer.load_state_dict(state["optimizer"])  # type: ignore[index]
    drawn, crops = Drawn(model, seed=step + 70_000), Crops(seed=step + 71_000, side=64)
    scenes, photos = [s.image for s in held_out(24)], list(sample_photos().values())
    progress, note = Progress(step, args.steps, args.batch), ""

    def keep() -> None:
        save_checkpoint(CHECKPOINT, {
            "vae": vae.state_dict(), "scaling_factor": vae.config.scaling_factor, "finish_step": step,
            "optimizer": optimizer.state_dict(),
        })  # fmt: skip

    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=50, hold=0.3)
        latents, wanted = drawn.batch(args.batch)
        real = crops.batch(4 * args.batch)
        with torch.no_grad(), torch.autocast(device().type, torch.bfloat16):
            coded = vae.encoder(real).float()
        with torch.autocast(device().type, torch.bfloat16):
            own, back = vae.decoder(latents), vae.decoder(coded)
        loss = reconstruction_loss(own.float(), wanted) + args.real * F.mse_loss(back.float(), real)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder, 1.0)
        optimizer.step()
        step += 1
        if step % 200 == 0 or step == args.steps:
            note = f"PSNR scenes {psnr(*reconstruct(vae, scenes)):.2f} photos {psnr(*reconstruct(vae, photos)):.2f} dB"
            keep()
        progress.update(step, loss.item(), note)
    keep()
    latents, wanted = drawn.batch(20)
    with torch.no_grad():
        pairs = torch.stack([wanted, vae.decoder(latents)], 1).flatten(0, 1) / 2 + 0.5
    sheet(pairs, 10, CHECKPOINT.with_suffix(".png"))


if __name__ == "__main__":
    main()
