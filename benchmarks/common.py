"""What the benchmarks share: timing in turns, pictures to feed, weights to compare on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import torch

from artflow.images import Picture


def in_turns(sides: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 2) -> dict[str, float]:
    """Median seconds of each side, run in turns so that a machine's drift meets all of them alike."""
    for _ in range(warmup):
        for run in sides.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            begin = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in seconds.items()}


def scenes(count: int, side: int, seed: int = 0) -> list[Picture]:
    """Different smooth pictures, uint8 of shape (side, side, 3)."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.random((count, 3, 6, 6), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return list((smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio of two pictures, dB."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def machine() -> str:
    """The device in words, for the head of a table."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
