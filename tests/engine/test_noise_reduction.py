"""A camera's noise on a still scene: what is painted of it stays as calm as the noise, and motion is not lost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from artflow.engine.noise_reduction import NoiseReduction
from artflow.models.catalog import load_catalog
from artflow.models.families.painter import Painter
from artflow.models.loader import load_model
from artflow.models.model import Condition
from artflow.prompts.styles import styles

SIGMA = 3.0  # of 255, of a camera in a room
FRAMES = 16


def camera(name: str, side: int) -> list[NDArray[np.uint8]]:
    """A still scene as a camera sees it."""
    scene = np.asarray(Image.fromarray(getattr(data, name)()).resize((side, side)), np.float32)
    rng = np.random.default_rng(0)
    frames = (scene + rng.normal(0, SIGMA, scene.shape) for _ in range(FRAMES))
    return [np.rint(frame).clip(0, 255).astype(np.uint8) for frame in frames]


def change(pictures: list[NDArray[np.uint8]]) -> float:
    """Grey levels by which each picture differs from the one before, on average."""
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairwise(pictures)]))


@pytest.mark.parametrize(("name", "side"), [("astronaut", 384), ("chelsea", 256)])
def test_paintings_of_a_still_scene_are_calm_in_every_style(name: str, side: int) -> None:
    painter = load_model(load_catalog().get("painter"), device="cpu", dtype=torch.float32)
    assert isinstance(painter, Painter)
    frames, reduction = camera(name, side), NoiseReduction()
    still = [reduction.apply(frame) for frame in frames]
    for style in styles().styles:
        shown = [painted(painter, frame, style.id) for frame in still[-2:]]
        assert change(shown) <= 1.5 * change(frames), style.id
    assert change([painted(painter, frame, "van-gogh") for frame in frames[-2:]]) > 1.5 * change(frames)  # without it


def painted(painter: Painter, frame: NDArray[np.uint8], style: str) -> NDArray[np.uint8]:
    (prepared,) = painter.prepare([Condition(f"{style}:1")])
    latent = painter.encode(torch.from_numpy(frame)[None])
    made = painter.predict(latent, torch.zeros(1), {key: value[None] for key, value in prepared.items()})
    return (made[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def test_motion_is_shown_at_once() -> None:
    reduction = NoiseReduction()
    first, second = np.full((64, 64, 3), 40, np.uint8), np.full((64, 64, 3), 40, np.uint8)
    second[16:48, 16:48] = 200
    for _ in range(5):
        reduction.apply(first)
    assert (reduction.apply(second)[20:44, 20:44] == 200).all()


def test_a_slow_change_of_the_light_arrives() -> None:
    reduction = NoiseReduction()
    for level in range(100, 111):
        shown = reduction.apply(np.full((64, 64, 3), level, np.uint8))
    for _ in range(40):
        shown = reduction.apply(np.full((64, 64, 3), 110, np.uint8))
    assert abs(int(shown[32, 32, 0]) - 110) <= 1


def test_another_size_begins_anew() -> None:
    reduction = NoiseReduction()
    reduction.apply(np.zeros((64, 64, 3), np.uint8))
    picture = np.full((32, 48, 3), 90, np.uint8)
    assert np.array_equal(reduction.apply(picture), picture)
