"""Stage 3, ``python -m training.diffusion``: the text tower and the UNet, trained together from nothing.

v-prediction on a zero-terminal-SNR schedule (2202.00512, 2305.08891). Noisy steps see canonical scenes; a part of the
middle steps starts from rough sources instead of the scene itself, which is what live img2img does. Resumes from
``cache/diffusion.pt``; ``--steps`` may be given anew at any time and refits the learning rate's decay.
"""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from training.common import (
    CACHE,
    LATENT_CHANNELS,
    device,
    load_checkpoint,
    mixed,
    seed_everything,
    warm_cosine,
)  # fmt: skip
from training.latents import Ring
from training.loop import Run, arguments, stage_seed
from training.noising import Noise
from training.vae import load as load_vae
from training.words import WIDTH, build_text_model, load_tokenizer, token_ids

CHECKPOINT = CACHE / "diffusion.pt"
CHANNELS = (64, 96, 192)
CANONICAL_FROM = 850  # above this t hardly anything of a source is left, so layout comes from the words alone
SOURCE_RANGE, SOURCE_SHARE = (240, 900), 0.25  # where live img2img enters, strengths 0.3 to 0.9
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


def main() -> None:
    parser = arguments(__doc__, steps=6000, rate=1e-3, ring=24_000)
    parser.add_argument("--noise-share", type=float, default=0.25, help="samples at the last timestep; see the README")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    state = load_checkpoint(CHECKPOINT)
    start = state["step"] if state else 0
    resumed = state is not None and "optimizer" in state
    seed = stage_seed(start, args.peer)
    seed_everything(seed + 1)
    tokenizer = load_tokenizer()
    run = Run(args, build_unet().to(device()), build_text_model(tokenizer).to(device()), CHECKPOINT, state)
    noise = Noise(device())
    empty = token_ids(tokenizer, [""]).to(device())
    ring = Ring(load_vae(), args.ring, seed=seed + 100)
    for _ in range(PREFILL):
        ring.fill(64)
    while run.step < args.steps:
        ring.fill(args.fresh)
        batch = Batch(ring, noise, args.batch, empty, args.noise_share)
        with mixed():
            words = run.text(batch.ids).last_hidden_state
            output = run.denoise(batch.xt, batch.t, words).sample
        errors = (batch.weight * (output.float() - batch.v) ** 2).mean((1, 2, 3))
        from_noise = batch.t >= CANONICAL_FROM
        ring.note(batch.slots[from_noise], errors.detach()[from_noise])
        gentle = 1.0 if resumed else min(1.0, (run.step - start + 1) / 150)  # while it has no moments
        run.update(errors.mean(), warm_cosine(run.step, args.steps, args.rate, hold=0.7) * gentle)


if __name__ == "__main__":
    main()
