"""MI-GAN: the network is that of its ONNX file, one model serves all, and its parts are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch.nn.functional import conv_transpose2d

from artflow.models.migan import SIDE, WEIGHTS, MiGan, doubled, fill, halved, load_migan

# What the ONNX file answers to `photo`, in float32: every eighth pixel of every eighth row, 0 to 255.
EXPECTED = Path(__file__).parent / "migan_onnx.npy"


def photo() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A photo of 512 x 512 with a hole."""
    hole = np.zeros((SIDE, SIDE), bool)
    hole[150:330, 40:170] = True
    return data.astronaut(), hole


def test_the_network_answers_as_its_onnx_file_does() -> None:
    """Within what storing the weights in half precision changes."""
    picture, hole = photo()
    made = fill(picture[None], hole[None], "cpu")[0]
    difference = np.abs(made[::8, ::8].astype(int) - np.load(EXPECTED))
    assert difference.mean() < 0.2 and np.quantile(difference, 0.99) <= 1 and difference.max() <= 8


def test_what_is_in_the_hole_does_not_matter_and_neighbours_in_a_call_neither() -> None:
    picture, hole = photo()
    other = picture.copy()
    other[hole] = 255
    both = fill(np.stack([picture, other]), np.stack([hole, hole]), "cpu")
    assert (both[0] == both[1]).all()
    assert np.abs(both[0].astype(int) - fill(picture[None], hole[None], "cpu")[0]).max() <= 1


def test_it_is_loaded_once_and_is_small() -> None:
    assert load_migan("cpu") is load_migan("cpu")
    assert WEIGHTS.stat().st_size < 16_000_000


def test_sizes_change_by_the_filter_1_3_3_1() -> None:
    line = torch.tensor([1.0, 3, 3, 1]) / 8
    kernel = torch.outer(line, line)[None, None]
    x = torch.rand(2, 1, 6, 5, generator=torch.manual_seed(0))
    assert torch.allclose(doubled(x), conv_transpose2d(x, kernel * 4, stride=2, padding=1), atol=1e-6)
    assert torch.allclose(halved(doubled(x))[..., 1:-1, 1:-1].mean(), x[..., 1:-1, 1:-1].mean(), atol=0.1)
    assert torch.allclose(halved(torch.ones(1, 3, 8, 8))[..., 1:-1, 1:-1], torch.ones(1, 3, 2, 2))


def test_a_smaller_one_has_fewer_steps() -> None:
    small = MiGan(side=16, width=64, most=8)
    made = small(torch.zeros(2, 3, 16, 16), torch.ones(2, 1, 16, 16))
    assert made.shape == (2, 3, 16, 16)
    assert list(small.encoder) == ["16", "8", "4"] and list(small.synthesis) == ["4", "8", "16"]
