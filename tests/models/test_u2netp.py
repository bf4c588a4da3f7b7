"""u2netp: the network is that of its ONNX file, and is small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from artflow.models.u2netp import SIDE, WEIGHTS, load_u2netp, saliency

# What the ONNX file says of the astronaut: every eighth pixel of every eighth row, 0 to 255.
EXPECTED = Path(__file__).parent / "u2netp_onnx.npy"


def test_the_network_answers_as_its_onnx_file_does() -> None:
    """Within what storing the weights in half precision changes."""
    picture = np.asarray(Image.fromarray(data.astronaut()).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    difference = np.abs(saliency(picture, "cpu")[::8, ::8] * 255 - np.load(EXPECTED))
    assert difference.mean() < 1 and np.quantile(difference, 0.99) < 8


def test_any_size_goes_through_and_it_is_loaded_once() -> None:
    assert saliency(data.coffee()[:97, :131], "cpu").shape == (97, 131)
    assert load_u2netp("cpu") is load_u2netp("cpu")
    assert WEIGHTS.stat().st_size < 3_000_000


def test_a_black_picture_is_no_error() -> None:
    assert np.isfinite(saliency(np.zeros((SIDE, SIDE, 3), np.uint8), "cpu")).all()
