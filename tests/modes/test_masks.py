"""Where the model works, and how what it made goes back."""

from __future__ import annotations

import numpy as np
import pytest

from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.modes.masks import (
    Bounds,
    MaskEdge,
    around,
    check_mask,
    composed,
    covering,
    extent_for,
    feathered,
    healed,
    surroundings,
)


def mask_of(height: int, width: int, box: Bounds) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    box.cut(mask)[:] = 255
    return mask


def test_a_mask_must_fit_and_hold_something() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(ArtflowError, match="The mask is empty"):
        check_mask(np.zeros((20, 30), np.uint8), picture)
    with pytest.raises(ArtflowError, match="The mask is 10 x 20 and the picture 30 x 20"):
        check_mask(np.zeros((20, 10), np.uint8), picture)


def test_the_area_around_a_mask_has_padding_and_the_models_aspect() -> None:
    area = around(mask_of(200, 300, Bounds(100, 80, 140, 100)), padding=10, native=Size(512, 512))
    assert area.size == (60, 60)
    assert area.left <= 90 and area.right >= 150 and area.top <= 70 and area.bottom >= 110


@pytest.mark.parametrize("box", [Bounds(0, 0, 5, 5), Bounds(290, 190, 300, 200), Bounds(0, 0, 300, 200)])
def test_the_area_stays_inside_the_picture(box: Bounds) -> None:
    area = around(mask_of(200, 300, box), padding=50, native=Size(512, 512))
    assert 0 <= area.left < area.right <= 300 and 0 <= area.top < area.bottom <= 200


def test_the_extent_keeps_the_aspect_in_multiples_of_the_latent() -> None:
    assert extent_for(Size(1000, 500), Size(512, 512), 8) == (512, 256)
    assert extent_for(Size(1000, 3), Size(512, 512), 8) == (512, 8)


@pytest.mark.parametrize("size", [Size(300, 200), Size(32, 24), Size(8, 8), Size(400, 400)])
def test_no_stroke_is_too_thin_to_count_at_another_size(size: Size) -> None:
    mask = covering(mask_of(200, 300, Bounds(150, 0, 151, 200)), size)
    assert mask.shape == (size.height, size.width) and set(np.unique(mask)) == {0, 255}
    assert mask.any(1).all()  # the line goes through every row
    assert (mask > 0).mean() < 0.2


@pytest.mark.parametrize("feather", [0, 1, 2, 7, 20])
@pytest.mark.parametrize(("edge", "share_outside"), [("inwards", 0), ("centred", 0.5), ("outwards", 1)])
def test_the_feather_begins_and_ends_where_it_says(feather: int, edge: MaskEdge, share_outside: float) -> None:
    opacity = feathered(mask_of(160, 160, Bounds(50, 50, 110, 110)), feather, edge)
    outside = int(feather * share_outside)
    changed, full = np.argwhere(opacity > 0), np.argwhere(opacity == 1)
    assert changed.min() == 50 - outside and changed.max() == 109 + outside
    assert full.min() == 50 + feather - outside and full.max() == 109 - feather + outside
    assert (np.diff(opacity[80, 20:80]) >= 0).all() and np.diff(opacity[80]).max() <= 2 / max(feather, 2)


def test_inwards_what_is_not_painted_stays() -> None:
    """All but a face is painted: nothing of the face changes."""
    mask = 255 - mask_of(100, 100, Bounds(30, 30, 70, 70))
    assert (feathered(mask, 8, "inwards")[30:70, 30:70] == 0).all()
    assert (feathered(mask, 8, "outwards")[30:70, 30:70] > 0).any()


@pytest.mark.parametrize("width", [1, 2, 5, 10, 30])
def test_a_thin_stroke_is_opaque_in_its_middle(width: int) -> None:
    mask = mask_of(80, 100, Bounds(40, 0, 40 + width, 80)) | mask_of(80, 100, Bounds(0, 0, 35, 50))
    opacity = feathered(mask, 8, "inwards")
    assert (opacity[:, 36:].max(1) == 1).all(), "beside a larger one too"
    assert opacity[:, 36:40].max() == 0


def test_a_mask_of_everything_has_no_edge() -> None:
    assert (feathered(np.full((20, 30), 255, np.uint8), 8, "inwards") == 1).all()


def test_composing_leaves_every_byte_outside() -> None:
    random = np.random.default_rng(0)
    original, made = random.integers(0, 256, (2, 50, 50, 3), np.uint8)
    opacity = feathered(mask_of(50, 50, Bounds(10, 10, 20, 20)), 4, "outwards")
    result = composed(original, made, opacity)
    assert (result[opacity == 0] == original[opacity == 0]).all()
    assert (result[10:20, 10:20] == made[10:20, 10:20]).all()


def test_surroundings_fill_the_hole_with_what_is_around_it() -> None:
    picture = np.full((60, 60, 3), (200, 40, 40), np.uint8)
    mask = mask_of(60, 60, Bounds(5, 5, 55, 55))
    picture[mask > 0] = 0
    filled = surroundings(picture, mask, radius=2)
    assert np.abs(filled.astype(int) - (200, 40, 40)).max() <= 2


def test_surroundings_of_next_to_nothing_are_its_colour() -> None:
    mask = np.full((256, 256), 255, np.uint8)
    mask[126:130, 126:130] = 0
    picture = np.full((256, 256, 3), (200, 40, 10), np.uint8)
    assert (np.abs(surroundings(picture, mask, radius=8).astype(int) - picture) <= 1).all()


def test_healing_takes_a_colour_cast_off_the_seam() -> None:
    original = np.full((64, 64, 3), 100, np.uint8)
    made = np.full((64, 64, 3), 130, np.uint8)  # as an autoencoder with a cast gives it back
    mask = mask_of(64, 64, Bounds(32, 0, 64, 64))
    result = healed(original, made, mask, reach=8)
    assert np.abs(result[:, 32].astype(int) - 100).max() <= 4
    assert np.abs(result[:, 63].astype(int) - 130).max() <= 4


def test_a_large_picture_is_healed_in_pieces_to_the_same_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    original, made = rng.integers(0, 256, (2, 120, 40, 3), np.uint8)
    mask = np.zeros((120, 40), np.uint8)
    mask[20:100, 10:30] = 255
    at_once = healed(original, made, mask, 4)
    monkeypatch.setattr("artflow.modes.masks.HEALED", 1)
    assert np.abs(healed(original, made, mask, 4).astype(int) - at_once).max() <= 1
