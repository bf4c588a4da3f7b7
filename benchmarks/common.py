"""What the benchmarks share: timing in turns, pictures to feed, weights to compare on."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from artflow.images import Picture

T = TypeVar("T")


def in_turns(
    sides: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each side, run in turns so that a machine's drift meets all of them alike.

    With ``time.thread_time`` as the clock, what a single thread computes is measured on a busy machine, too.
    """
    for _ in range(warmup):
        for run in sides.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            begin = clock()
            run()
            seconds[name].append(clock() - begin)
    return {name: median(values) for name, values in seconds.items()}


def scenes(count: int, side: int, seed: int = 0) -> list[Picture]:
    """Different smooth pictures, uint8 of shape (side, side, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return [np.array(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]


def apart(work: Callable[[], T]) -> T:
    """The result of ``work``, done in a thread that ends with it.

    Every thread that computes with torch keeps a team of OpenMP threads; where teams outnumber the cores, each of their
    calls takes over twice as long. So models are made here, and all sides are timed on the engine's one thread.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work).result()


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio of two pictures, dB."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def machine() -> str:
    """The device in words, for the head of a table."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
