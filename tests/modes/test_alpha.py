"""What becomes of transparency where a capability knows only colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from artflow.images import Picture, Size
from artflow.modes.alpha import split
from artflow.modes.filters import FILTERS, apply, new_layer
from artflow.modes.upscale import upscale
from artflow.pipeline import Pipeline
from artflow.settings import load_settings

ORANGE = (240, 90, 30)


def logo(side: int = 96) -> np.ndarray:
    """An orange disc with a soft edge; what is clear is black, as editors leave it."""
    large = Image.new("L", (8 * side, 8 * side))
    ImageDraw.Draw(large).ellipse((side, side, 7 * side, 7 * side), fill=255)
    alpha = np.asarray(large.resize((side, side), Image.Resampling.BOX))
    return np.dstack([np.where(alpha[..., None] > 0, np.uint8(ORANGE), np.uint8(0)), alpha])


def off_orange(picture: np.ndarray) -> float:
    """How far the colour that is to be seen anywhere is from orange, in levels."""
    return float((np.abs(picture[..., :3].astype(float) - ORANGE).max(-1) * picture[..., 3] / 255).max())


@pytest.mark.parametrize("upscaler", ["lanczos", "span"])
def test_a_logo_is_enlarged_with_its_soft_edge_and_without_a_fringe(upscaler: str) -> None:
    made = upscale(logo(), 2, upscaler)
    assert made is not None and made.shape == (192, 192, 4)
    assert off_orange(made) < 12
    true = logo(192)[..., 3].astype(float)
    assert np.abs(made[..., 3] - true).mean() < 2
    assert (made[:20, :, 3] == 0).all() and (made[80:112, 80:112, 3] == 255).all(), "quite clear, quite opaque"


def test_progress_counts_the_tiles_of_alpha_too() -> None:
    heard: list[tuple[int, int]] = []
    upscale(logo(), 2, "span", lambda done, total: heard.append((done, total)))
    assert heard == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_what_is_redrawn_keeps_its_alpha() -> None:
    pipeline = Pipeline(load_settings(environ={}))
    asked = {"factor": 2, "upscaler": "lanczos", "steps": 1, "seed": 1}
    (plain,) = pipeline.upscale(logo(70), asked)
    (made,) = pipeline.upscale(logo(70), asked | {"strength": 0.5})
    assert (made.picture[..., 3] == plain.picture[..., 3]).all()
    assert (made.picture[..., :3] != plain.picture[..., :3]).any()
    pipeline.close()


@pytest.mark.parametrize("name", [name for name, entry in FILTERS.items() if not entry.moves and not entry.slow])
def test_filters_of_colours_leave_alpha_as_it_is(name: str) -> None:
    picture = logo()
    made = apply((new_layer(name),), picture)
    assert made.shape == picture.shape and (made[..., 3] == picture[..., 3]).all()


@pytest.mark.parametrize(
    ("name", "parameters", "size"),
    [
        ("crop", {"left": 25, "right": 25}, Size(48, 96)),
        ("rotate", {"angle": 45}, Size(136, 136)),
        ("flip", {}, Size(96, 96)),
        ("resize", {"width": 48}, Size(48, 48)),
    ],
)
def test_filters_of_the_shape_move_alpha_with_the_colours(name: str, parameters: dict, size: Size) -> None:
    picture = logo()
    picture[:, :40, 3] = 0
    made = apply((new_layer(name, parameters),), picture)
    assert made.shape == (size.height, size.width, 4)
    assert off_orange(made) < 12
    if name == "flip":
        assert (made == apply((), picture)[:, ::-1]).all()
    if name == "rotate":
        assert (made[:20, :20, 3] == 0).all(), "what comes in is clear"


def test_a_stack_of_nothing_keeps_what_is_seen() -> None:
    made = apply((), logo())
    assert (made[..., 3] == logo()[..., 3]).all()
    assert (made[..., :3] == ORANGE).all(), "and what is clear has the colour beside it"


def test_a_picture_without_alpha_and_one_of_nothing_but_alpha() -> None:
    opaque: Picture = np.full((5, 6, 3), 9, np.uint8)
    assert split(opaque)[1] is None and split(opaque)[0] is opaque
    clear = np.zeros((5, 6, 4), np.uint8)
    assert (apply((new_layer("invert"),), clear)[..., 3] == 0).all()
