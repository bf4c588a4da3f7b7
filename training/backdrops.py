"""What is behind a thing: plain colour, ground and sky, space, or a photo-like nothing to start img2img from."""

from __future__ import annotations

import random

import cv2
import numpy as np

from training.common import IMAGE_SIZE
from training.concepts import GROUNDS, SKIES

SIZE = IMAGE_SIZE
Colour = tuple[float, float, float]


def jittered(colour: Colour, rng: random.Random, spread: int) -> Colour:
    return tuple(min(255.0, max(0.0, c + rng.randint(-spread, spread))) for c in colour)  # type: ignore[return-value]


def gradient(top: Colour, bottom: Colour, height: int) -> np.ndarray:
    """[height, 128, 3] float32, from one colour to the other."""
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    column = np.float32(top) * (1 - t) + np.float32(bottom) * t
    return np.repeat(column[:, None], SIZE, axis=1)


def texture(rng: random.Random) -> np.ndarray:
    """A photo-like nothing, [128, 128, 3] float32: soft colour noise, some boxes and discs, like a dim room."""
    noise = np.random.default_rng(rng.getrandbits(32))
    base = noise.uniform(30, 225, 3)
    out = np.full((SIZE, SIZE, 3), base, np.float32)
    for cells, strength in ((2, 70), (4, 40), (9, 22), (24, 10)):
        grid = noise.normal(0, strength, (cells, cells, 1)) + noise.normal(0, strength * 0.35, (cells, cells, 3))
        out += cv2.resize(grid.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.randint(0, 6)):
        colour = [float(c) for c in noise.uniform(0, 255, 3) * 0.6 + base * 0.4]
        x, y, w, h = (rng.randint(-20, SIZE) for _ in range(4))
        if rng.random() < 0.6:
            cv2.rectangle(out, (x, y), (x + w, y + h), colour, -1)
        else:
            cv2.ellipse(out, (x, y), (abs(w) // 2 + 4, abs(h) // 2 + 4), rng.randint(0, 180), 0, 360, colour, -1)
    return cv2.GaussianBlur(out, (0, 0), rng.uniform(0.6, 5))


def space(rng: random.Random) -> np.ndarray:
    """A dark gradient with stars, [128, 128, 3] float32."""
    out = gradient((14, 12, 34), (30, 18, 60), SIZE)
    for _ in range(26):
        cv2.circle(
            out,
            (rng.randrange(SIZE), rng.randrange(SIZE)),
            rng.choice([0, 0, 1]),
            (235, 235, 220),
            -1,
        )
    return out


def landscape(rng: random.Random, sky: str, ground: str, horizon: float, spread: int) -> np.ndarray:
    """Ground below the horizon, sky above, colours jittered by ``spread``, [128, 128, 3] float32."""
    h = int(SIZE * horizon)
    top, low = (jittered(c, rng, spread) for c in SKIES[sky])
    earth = jittered(GROUNDS[ground], rng, spread)
    if sky == "night sky":
        earth = tuple(c * 0.62 for c in earth)  # type: ignore[assignment]
    near = tuple(c * 0.8 for c in earth)
    out = np.concatenate([gradient(top, low, h), gradient(earth, near, SIZE - h)])  # type: ignore[arg-type]
    if sky == "night sky":
        for _ in range(12):
            cv2.circle(out, (rng.randrange(SIZE), rng.randrange(h)), 0, (240, 240, 220), -1)
    if sky == "cloudy sky":
        for x in (0.2, 0.75):
            cv2.ellipse(out, (int(x * SIZE), int(h * 0.3)), (22, 7), 0, 0, 360, (232, 236, 240), -1, cv2.LINE_AA)
    if ground == "road":
        for x in range(-10, SIZE, 40):
            cv2.rectangle(out, (x, h + (SIZE - h) // 2), (x + 20, h + (SIZE - h) // 2 + 4), (225, 220, 190), -1)
    if ground == "water":
        for x, y in ((10, 0.3), (80, 0.45), (30, 0.75), (96, 0.85)):
            cv2.line(out, (x, h + int((SIZE - h) * y)), (x + 20, h + int((SIZE - h) * y)), (120, 180, 232), 2)
    return out
