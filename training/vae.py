"""Stage 2, ``python -m training.vae``: the picture codec, an ``AutoencoderTiny`` (f = 8, 12 channels).

Trained on 64-pixel crops of scenes, sources and paintings with L1 + L2 + gradient + pooled losses; a little noise on
the latents makes the decoder forgiving. ``--decoder-only`` freezes the encoder, so that the diffusion model's latents
stay valid while the decoder is polished for squared error. Resumes from ``cache/vae.pt``.
"""

from __future__ import annotations

import argparse
import random

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import nn

from training.backdrops import texture
from training.common import (
    CACHE,
    IMAGE_SIZE,
    LATENT_CHANNELS,
    Progress,
    Threads,
    device,
    load_checkpoint,
    psnr,
    save_checkpoint,
    seed_everything,
    sheet,
    warm_cosine,
)  # fmt: skip
from training.data import composer, held_out, load_extra, to_tensor
from training.scenes import Composer

CHECKPOINT = CACHE / "vae.pt"
WIDTH = 32


def build() -> AutoencoderTiny:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(WIDTH,) * 4,
        decoder_block_out_channels=(WIDTH,) * 4,
        num_encoder_blocks=(0, 1, 2, 3),
        num_decoder_blocks=(3, 3, 2, 0),
        latent_channels=LATENT_CHANNELS,
    )
    return vae.to(memory_format=torch.channels_last)


def initialise(vae: AutoencoderTiny) -> None:
    """Kaiming with a quiet residual branch: PyTorch's default leaves this many ReLU layers without signal."""
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, AutoencoderTinyBlock):
                module.conv[4].weight *= 0.2
        [m for m in vae.encoder.modules() if isinstance(m, nn.Conv2d)][-1].weight *= 0.5
        last = [m for m in vae.decoder.modules() if isinstance(m, nn.Conv2d)][-1]
        last.weight *= 0.2
        last.bias += 0.5


def load() -> AutoencoderTiny:
    """The trained codec, frozen, with its measured scaling factor."""
    state = load_checkpoint(CHECKPOINT)
    if state is None:
        raise FileNotFoundError("run `python -m training.vae` first")
    vae = build()
    vae.load_state_dict(state["vae"])
    vae.register_to_config(scaling_factor=state["scaling_factor"])
    return vae.eval().requires_grad_(False).to(device())


class Crops:
    """Training crops: our scenes, other drawings on textures, paintings and sources in turn."""

    def __init__(self, seed: int, side: int) -> None:
        self.scenes, self.extra, self.side, self.rng = composer(seed), load_extra(), side, random.Random(seed)

    def picture(self) -> np.ndarray:
        rng, kind = self.rng, self.rng.random()
        scenes: Composer = self.scenes
        if kind < 0.5:
            return scenes.one(canonical=rng.random() < 0.4).image
        if kind < 0.62:
            return scenes.one(canonical=False).source
        if kind < 0.8:
            return scenes.photo().astype(np.uint8)
        back = texture(rng) if rng.random() < 0.3 else scenes.background(canonical=False)[0]
        layout = scenes.layouts(1, False, None)[0]
        colour, alpha = scenes.place(self.extra[rng.randrange(len(self.extra))], layout)
        return np.clip(back * (1 - alpha) + colour, 0, 255).astype(np.uint8)

    def batch(self, count: int) -> torch.Tensor:
        """[count, 3, side, side] in [-1, 1]: four crops of each composed picture."""
        crops = []
        while len(crops) < count:
            picture = self.picture()
            for _ in range(4):
                y, x = (self.rng.randint(0, IMAGE_SIZE - self.side) for _ in range(2))
                crop = picture[y : y + self.side, x : x + self.side]
                crops.append(np.ascontiguousarray(crop[:, ::-1] if self.rng.random() < 0.5 else crop))
        return to_tensor(crops[:count]).to(device())


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 + L2, plus L1 of differences between neighbours (edges) and of 4x4 means (large areas of colour)."""
    error = output - target
    edges = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    return error.abs().mean() + 0.5 * (error**2).mean() + 0.3 * edges + 0.5 * F.avg_pool2d(error, 4).abs().mean()


def latent_loss(latents: torch.Tensor) -> torch.Tensor:
    """Keeps every channel near mean 0 and deviation 1, so that one scaling factor fits all of them."""
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    return 2e-3 * ((mean**2).sum() + ((deviation - 1) ** 2).sum())


@torch.no_grad()
def reconstruct(vae: AutoencoderTiny, pictures: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """(original, reconstruction), both [N, 3, H, W] in [0, 1]."""
    inputs = to_tensor(pictures).to(device())
    outputs = vae.decoder(vae.encoder(inputs)).clamp(-1, 1)
    return inputs / 2 + 0.5, outputs / 2 + 0.5


def sample_photos() -> dict[str, np.ndarray]:
    """scikit-image's bundled colour photos at 128 px: for measuring only, never trained on."""
    from skimage import data

    photos = {
        "astronaut": data.astronaut(),
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
    }
    out = {}
    for name, photo in photos.items():
        side = min(photo.shape[:2])
        y, x = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        out[name] = cv2.resize(
            photo[y : y + side, x : x + side], (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents, polish the decoder")
    args = parser.parse_args()
    threads = Threads(args.threads)
    vae = build().to(device())
    checkpoint = CHECKPOINT.with_name("vae_decoder.pt") if args.decoder_only else CHECKPOINT
    state = load_checkpoint(checkpoint)
    step = state["step"] if state else 0
    seed_everything(step + 17)
    if state:
        vae.load_state_dict(state["vae"])
    elif args.decoder_only:
        vae.load_state_dict(load_checkpoint(CHECKPOINT)["vae"])  # type: ignore[index]
    else:
        initialise(vae)
    trained = list(vae.decoder.parameters() if args.decoder_only else vae.parameters())
    optimizer = torch.optim.AdamW(trained, lr=args.rate, betas=(0.9, 0.98), weight_decay=0)
    if state and "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
    crops = Crops(seed=step + 23, side=args.crop)
    scenes, photos = [s.image for s in held_out(24)], list(sample_photos().values())
    progress = Progress(step, args.steps, args.batch)

    def keep() -> None:
        with torch.no_grad():
            deviation = float(vae.encoder(to_tensor(scenes).to(device())).std())
        saved = {"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        save_checkpoint(checkpoint, saved | {"scaling_factor": 1 / deviation})

    noise = 0.02 if args.decoder_only else 0.05
    note = ""
    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, warmup=50, hold=0.2)
        target = crops.batch(args.batch)
        with torch.autocast(device().type, torch.bfloat16):
            latents = vae.encoder(target)
            output = vae.decoder(latents + noise * torch.randn_like(latents))
        if args.decoder_only:
            loss = 10 * F.mse_loss(output.float(), target)
        else:
            loss = reconstruction_loss(output.float(), target) + latent_loss(latents.float())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        if step % 250 == 0 or step == args.steps:
            note = f"PSNR scenes {psnr(*reconstruct(vae, scenes)):.2f} photos {psnr(*reconstruct(vae, photos)):.2f} dB"
            keep()
        progress.update(step, loss.item(), f"{note} threads {threads.usual}")
        threads.step()
    keep()
    pairs = torch.stack(reconstruct(vae, scenes[:20] + photos), 1).flatten(0, 1)
    sheet(pairs, 8, checkpoint.with_suffix(".png"))


if __name__ == "__main__":
    main()
