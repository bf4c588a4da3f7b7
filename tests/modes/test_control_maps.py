"""What maps show: the lines and colours of the picture that they are made of."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from pydantic import ValidationError

from artflow.engine.control_unit import ControlUnit
from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.modes.control_maps import control_map, control_pictures


@pytest.fixture
def square() -> Picture:
    """A dark square on white."""
    picture = np.full((96, 128, 3), 255, np.uint8)
    picture[30:60, 40:80] = (20, 40, 160)
    return picture


@pytest.mark.parametrize("name", ["canny", "scribble", "lineart", "softedge"])
def test_lines_are_where_the_picture_has_edges(square: Picture, name: str) -> None:
    drawn = control_map(square, ControlUnit(kind="canny", preprocess=name))
    assert drawn.shape == square.shape and drawn.dtype == np.uint8
    assert drawn[27:34, 40:80].max() > 100  # its upper side
    assert drawn[:15].max() < 20 and drawn[-15:].max() < 20  # nothing is there
    assert not control_map(np.full_like(square, 200), ControlUnit(kind="canny", preprocess=name)).any()


def test_a_drawing_becomes_its_strokes_white_on_black() -> None:
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[30:33, 10:50] = 0
    drawn = control_map(picture, ControlUnit(kind="scribble"))
    assert drawn[31, 30].min() == 255 and drawn[10, 30].max() == 0


def test_colours_are_cells_and_a_map_or_a_tile_stays_as_it_is(square: Picture) -> None:
    cells = control_map(square, ControlUnit(kind="color"))
    assert len(np.unique(cells.reshape(-1, 3), axis=0)) <= 2
    for unit in (ControlUnit(kind="tile"), ControlUnit(kind="depth", preprocess="none")):
        assert control_map(square, unit) is square


@pytest.mark.skipif(importlib.util.find_spec("controlnet_aux") is not None, reason="controlnet-aux is installed")
def test_what_has_to_be_installed_is_said(square: Picture) -> None:
    with pytest.raises(ArtflowError, match=r"'openpose' .*pip install controlnet-aux") as caught:
        control_pictures(square, [ControlUnit(kind="openpose")])
    assert caught.value.code == "not_installed"


def test_units_are_checked() -> None:
    with pytest.raises(ValidationError, match="weight"):
        ControlUnit(kind="canny", weight=3)
    with pytest.raises(ValidationError, match="before end"):
        ControlUnit(kind="canny", start=0.8, end=0.2)
    with pytest.raises(ValidationError, match="at most 4"):
        LiveParams(control=[{"kind": "canny"}] * 5)
