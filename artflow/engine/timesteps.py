"""Which timesteps a live picture goes through: whole numbers, so that who asks for pictures can know them, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from artflow.errors import ArtflowError

LCM_GRID = 50  # the steps of the teacher that latent consistency models were distilled on


def live_timesteps(
    kind: str, steps: int, strength: float, t_index_list: Sequence[int] | None, train_steps: int
) -> list[int]:
    """The timesteps of ``steps`` at ``strength`` (0 to 1), or of explicit indices into the 50-step LCM grid.

    ``kind`` is the model's: ``lcm``, ``turbo``, or ``once`` for one that makes its picture in a single step. Fewer than
    ``steps`` come back where strength leaves fewer.

    Raises:
        ArtflowError: ``bad_t_index_list`` if an index is out of range or they do not increase.
    """
    if t_index_list is not None:
        check_indices(t_index_list)
    if kind == "once":
        return [0]
    if t_index_list is not None:
        whole = lcm_timesteps(LCM_GRID, 1.0, train_steps)
        return [whole[i] for i in t_index_list]
    if kind == "turbo":
        return trailing_timesteps(steps, strength, train_steps)
    return lcm_timesteps(steps, strength, train_steps)


def lcm_timesteps(steps: int, strength: float, train_steps: int = 1000, grid: int = LCM_GRID) -> list[int]:
    """``steps`` timesteps of the LCM grid within the noisiest allowed by ``strength`` (diffusers LCMScheduler).

    Fewer come back where strength leaves fewer points of the grid; one at least.
    """
    stride = train_steps // grid
    origin = [i * stride - 1 for i in range(max(1, int(grid * strength)), 0, -1)]
    steps = min(steps, len(origin))
    return [origin[math.floor(i * len(origin) / steps)] for i in range(steps)]


def trailing_timesteps(steps: int, strength: float, train_steps: int = 1000) -> list[int]:
    """``steps`` timesteps spread evenly below ``strength``, as turbo models want (2305.08891, table 2)."""
    top = max(strength * train_steps, 1.0)
    times = [round(top * (steps - i) / steps) - 1 for i in range(steps)]
    return sorted({max(t, 0) for t in times}, reverse=True)


def check_indices(indices: Sequence[int]) -> None:
    """Refuse what is no list of steps.

    Raises:
        ArtflowError: ``bad_t_index_list``.
    """
    rising = all(a < b for a, b in pairwise(indices))
    if not (1 <= len(indices) <= 8 and rising and indices[0] >= 0 and indices[-1] < LCM_GRID):
        raise ArtflowError(
            "bad_t_index_list",
            f"t_index_list {list(indices)} is not allowed: 1 to 8 rising whole numbers from 0 to {LCM_GRID - 1}.",
        )
