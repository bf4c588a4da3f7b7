"""Noise schedules of live steps, as pure functions from a diffusers scheduler config.

Everything is float32 on the CPU; a `Schedule` is a handful of numbers for each of its steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from artflow.engine.timesteps import live_timesteps
from artflow.errors import ArtflowError

SIGMA_DATA = 0.5


@dataclass(frozen=True)
class Schedule:
    """The steps one picture goes through, noisiest first; every tuple has one entry a step.

    ``alpha`` and ``sigma`` are the square roots of the cumulative products: x_t = alpha x_0 + sigma noise.
    ``c_skip`` and ``c_out`` are the consistency model's boundary scalings (2310.04378, appendix C).
    """

    timesteps: tuple[int, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    c_skip: tuple[float, ...]
    c_out: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)


def betas(config: Mapping[str, Any]) -> torch.Tensor:
    """The betas of a diffusers scheduler config, float32 of shape (num_train_timesteps,).

    Raises:
        ArtflowError: ``bad_schedule`` for a ``beta_schedule`` that is not known.
    """
    count = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        result = torch.tensor(config["trained_betas"], dtype=torch.float32)
    elif kind == "linear":
        result = torch.linspace(start, end, count, dtype=torch.float32)
    elif kind == "scaled_linear":
        result = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float32) ** 2
    elif kind == "squaredcos_cap_v2":
        result = torch.tensor([min(1 - _cosine((i + 1) / count) / _cosine(i / count), 0.999) for i in range(count)])
    else:
        allowed = "linear, scaled_linear, squaredcos_cap_v2, or trained_betas"
        raise ArtflowError("bad_schedule", f"The model's beta_schedule is {kind!r}; known are {allowed}.")
    return zero_terminal_snr(result) if config.get("rescale_betas_zero_snr") else result


def _cosine(t: float) -> float:
    return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2


def zero_terminal_snr(original: torch.Tensor) -> torch.Tensor:
    """Betas rescaled so that the last step is pure noise (2305.08891, algorithm 1)."""
    root = torch.cumprod(1 - original, 0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    product = ((root - last) * first / (first - last)) ** 2
    return 1 - torch.cat([product[:1], product[1:] / product[:-1]])


def boundary_scalings(timestep: int, scaling: float = 10.0) -> tuple[float, float]:
    """c_skip and c_out of a consistency model at a timestep (2310.04378, appendix C)."""
    scaled = timestep * scaling
    return SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2), scaled / math.sqrt(scaled**2 + SIGMA_DATA**2)


class ScheduleMaker:
    """The schedules of one model. ``kind`` is ``lcm``, ``turbo`` or ``once``, as the catalog or the scheduler says."""

    def __init__(self, config: Mapping[str, Any], kind: str) -> None:
        self.kind = kind
        self._products = torch.cumprod(1 - betas(config), 0).tolist()
        self._scaling = float(config.get("timestep_scaling", 10.0))

    @property
    def noisy(self) -> bool:
        """Whether pictures are made out of noise."""
        return self.kind != "once"

    def make(self, steps: int, strength: float, t_index_list: tuple[int, ...] | None = None) -> Schedule:
        """The schedule of ``steps`` at ``strength`` (0 to 1), or of explicit indices into the 50-step LCM grid.

        Raises:
            ArtflowError: ``bad_t_index_list`` if an index is out of range or they do not increase.
        """
        times = live_timesteps(self.kind, steps, strength, t_index_list, len(self._products))
        if not self.noisy:  # one step from picture to picture, of which the strength is a share
            return Schedule(tuple(times), alpha=(1.0,), sigma=(0.0,), c_skip=(1 - strength,), c_out=(strength,))
        consistency = self.kind == "lcm" or t_index_list is not None
        scalings = [boundary_scalings(t, self._scaling) if consistency else (0.0, 1.0) for t in times]
        return Schedule(
            timesteps=tuple(times),
            alpha=tuple(self._products[t] ** 0.5 for t in times),
            sigma=tuple((1 - self._products[t]) ** 0.5 for t in times),
            c_skip=tuple(skip for skip, _ in scalings),
            c_out=tuple(out for _, out in scalings),
        )
