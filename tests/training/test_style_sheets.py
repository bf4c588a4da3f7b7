"""Styles that code draws: each redraws a picture at its size, the same way every time, and unlike the others."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from training.style_sheets import SHEETS, redraw


@pytest.fixture(scope="module")
def face() -> Image.Image:
    return Image.fromarray(data.astronaut()[0:192, 120:344])


@pytest.mark.parametrize("name", SHEETS)
def test_a_sheet_has_the_pictures_size_and_is_drawn_alike_each_time(name: str, face: Image.Image):
    first, again = redraw(name, face), redraw(name, face)
    assert first.size == face.size and first.mode == "RGB"
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert np.abs(np.asarray(first, float) - np.asarray(face, float)).mean() > 10


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_picture_of_one_colour_can_be_redrawn(name: str, grey: int):
    drawn = redraw(name, Image.new("RGB", (64, 48), (grey, grey, grey)))
    assert drawn.size == (64, 48)


def test_pencil_and_charcoal_are_without_colour_and_stained_glass_is_not(face: Image.Image):
    colours = {name: np.asarray(redraw(name, face), float).std(2).mean() for name in SHEETS}
    assert colours["pencil"] < 8 and colours["charcoal"] < 10 < 14 < colours["stained-glass"]
