"""What every stage shares: folders, seeding, atomic checkpoints, progress lines, averaged weights, sample sheets."""

from __future__ import annotations

import copy
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

ROOT = Path(__file__).resolve().parent
CACHE = ROOT / "cache"
POCKET = ROOT.parent / "artflow" / "models" / "pocket"
IMAGE_SIZE = 128
LATENT_CHANNELS = 12


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed() -> torch.autocast:
    """bfloat16 where the machine computes in it, else nothing: emulated, it is slower than float32."""
    kind = device().type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu" or torch.cpu._is_avx512_bf16_supported())


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def save_checkpoint(path: Path, state: dict) -> None:
    """Write beside, then rename: a run cut off while saving never loses the last good state."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_checkpoint(path: Path) -> dict | None:
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def warm_cosine(step: int, steps: int, peak: float, warmup: int = 100, hold: float = 0.5, floor: float = 0.03) -> float:
    """Learning rate: linear warm-up, flat until ``hold`` of the steps, then half a cosine down to ``floor``.

    Depends on the step alone, never on the clock: a run that is paused or resumed decays alike, and giving a
    different total refits the decay to the time that is left.
    """
    fraction = min(1.0, step / max(1, steps))
    decay = max(0.0, (fraction - hold) / (1 - hold))
    shape = floor + (1 - floor) * 0.5 * (1 + float(np.cos(np.pi * decay)))
    return peak * min(1.0, (step + 1) / warmup) * shape


class Average:
    """Exponential moving average of modules' weights; warms up so that early weights do not linger."""

    def __init__(self, modules: list[nn.Module], decay: float) -> None:
        self.decay = decay
        self.live = [p for m in modules for p in m.parameters()]
        self.modules = [copy.deepcopy(m).eval().requires_grad_(False) for m in modules]
        self.mean = [p for m in self.modules for p in m.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, self.live, 1 - decay)


class Threads:
    """Keeps whichever thread count is quicker now: beside other work, threads that wait for each other lose to one.

    Call once per step. Every ``every`` seconds the other count is tried for ``TRIAL`` steps, and kept if quicker.
    """

    TRIAL = 4

    def __init__(self, most: int, every: float = 12.0) -> None:
        self.most, self.every, self.usual = most, every, 1
        self.last = self.tried = time.monotonic()
        self.settled, self.times = float("inf"), [0.0]
        torch.set_num_threads(self.usual)

    def step(self) -> None:
        now = time.monotonic()
        self.times.append(now - self.last)
        self.last = now
        if self.most == 1:
            return
        other = self.most if self.usual == 1 else 1
        if torch.get_num_threads() == self.usual:
            if now - self.tried > self.every and len(self.times) > self.TRIAL:
                self.settled = sum(self.times[-self.TRIAL :])
                self.times = []
                torch.set_num_threads(other)
        elif len(self.times) > self.TRIAL:
            if sum(self.times[1:]) < 0.9 * self.settled:  # the first step after a switch pays for the switch
                self.usual = other
            self.times, self.tried = [], now
            torch.set_num_threads(self.usual)


class Progress:
    """Prints ``step/steps, loss, samples/s, ETA`` every ``every`` seconds; counts from where the run resumed."""

    def __init__(self, start: int, steps: int, batch: int, every: float = 20.0) -> None:
        self.start, self.steps, self.batch, self.every = start, steps, batch, every
        self.began = self.printed = time.monotonic()
        self.loss: float | None = None

    def update(self, step: int, loss: float, note: str = "") -> None:
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        now = time.monotonic()
        if now - self.printed < self.every and step < self.steps:
            return
        self.printed = now
        rate = (step - self.start) * self.batch / max(1e-6, now - self.began)
        eta = (self.steps - step) * self.batch / max(1e-6, rate)
        print(
            f"{step}/{self.steps} loss {self.loss:.4f} {rate:.1f} samples/s ETA {eta / 60:.1f} min {note}",
            flush=True,
        )


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean over the batch of each picture's peak signal-to-noise ratio in dB; both [N, 3, H, W] in [0, 1]."""
    error = ((first - second) ** 2).flatten(1).mean(1).clamp(min=1e-10)
    return float((-10 * torch.log10(error)).mean())


def sheet(images: torch.Tensor, columns: int, path: Path) -> None:
    """Save [N, 3, H, W] pictures in [0, 1] as one PNG, row by row."""
    count, _, height, width = images.shape
    rows = -(-count // columns)
    canvas = torch.ones(rows * columns, 3, height, width)
    canvas[:count] = images.float().cpu().clamp(0, 1)
    grid = canvas.view(rows, columns, 3, height, width).permute(0, 3, 1, 4, 2)
    pixels = (grid.reshape(rows * height, columns * width, 3).numpy() * 255).round().astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
