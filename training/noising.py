"""Noise schedule and the formulas that diffusion, distillation and evaluation share.

x_t = sqrt(ab_t) x_0 + sqrt(1 - ab_t) e, and v = sqrt(ab_t) e - sqrt(1 - ab_t) x_0 (2202.00512), with the schedule
rescaled so that ab_999 = 0 (2305.08891): the model learns to start from noise alone, as one-step pictures need.
"""

from __future__ import annotations

import torch
from diffusers import LCMScheduler

TIMESTEPS = 1000
LCM_STEPS = 50  # LCMScheduler's original_inference_steps: the grid is 19, 39, ... 999


def betas() -> torch.Tensor:
    """[1000] float64: Stable Diffusion's scaled-linear betas with zero terminal signal (2305.08891, algorithm 1)."""
    base = torch.linspace(0.00085**0.5, 0.012**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    signal = torch.cumprod(1 - base, 0).sqrt()
    first, last = signal[0].clone(), signal[-1].clone()
    signal = (signal - last) * first / (first - last)
    alphas_cumprod = signal**2
    return 1 - torch.cat([alphas_cumprod[:1], alphas_cumprod[1:] / alphas_cumprod[:-1]])


def scheduler() -> LCMScheduler:
    return LCMScheduler(
        num_train_timesteps=TIMESTEPS, trained_betas=betas().tolist(), prediction_type="v_prediction",
        clip_sample=False, set_alpha_to_one=True, original_inference_steps=LCM_STEPS, rescale_betas_zero_snr=False,
    )  # fmt: skip


class Noise:
    """The schedule as tensors on one device. All ``t`` are [N] int64, all latents [N, C, h, w]."""

    def __init__(self, device: torch.device) -> None:
        self.alphas_cumprod = torch.cumprod(1 - betas(), 0).float().to(device)

    def split(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """sqrt(ab_t) and sqrt(1 - ab_t), [N, 1, 1, 1]; t = -1 stands for the clean picture."""
        ab = torch.where(t < 0, torch.ones_like(t, dtype=torch.float32), self.alphas_cumprod[t.clamp(min=0)])
        ab = ab[:, None, None, None]
        return ab.sqrt(), (1 - ab).sqrt()

    def add(self, x0: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        signal, sigma = self.split(t)
        return signal * x0 + sigma * noise

    def x0(self, xt: torch.Tensor, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        signal, sigma = self.split(t)
        return signal * xt - sigma * v

    def epsilon(self, xt: torch.Tensor, v: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        signal, sigma = self.split(t)
        return signal * v + sigma * xt

    def v_to(self, x0: torch.Tensor, xt: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The v that leads from ``xt`` to ``x0`` exactly, also where ``xt`` was noised from another picture."""
        signal, sigma = self.split(t)
        return (signal * xt - x0) / sigma


def lcm_timesteps(steps: int, strength: float = 1.0) -> list[int]:
    """LCMScheduler's timesteps, e.g. [999, 759, 499, 259] for 4 steps."""
    source = scheduler()
    source.set_timesteps(steps, original_inference_steps=LCM_STEPS, strength=strength)
    return [int(t) for t in source.timesteps]
