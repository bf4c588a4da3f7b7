"""The photo classifier: names, kinds, media and where the subject is; pictures of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from artflow.models.classifier import DRAWING, FOLDER, MEDIA, PHOTO, Look, look
from tests.support.live import plain


@pytest.fixture(scope="module")
def cat() -> Look:
    return look(data.chelsea(), "cpu")


def test_a_photo_has_names_their_kinds_and_a_medium(cat: Look) -> None:
    assert cat.names[0][0] in ("a tabby cat", "a tiger cat", "an Egyptian Mau")
    assert cat.kinds[0][0] == "a cat" and cat.kinds[0][1] > 0.7
    assert cat.media[0][0] == PHOTO
    for shares in (cat.names, cat.media):
        values = [share for _, share in shares]
        assert values == sorted(values, reverse=True) and abs(sum(values) - 1) < 1e-3


def test_two_classes_of_one_name_are_added() -> None:
    """ImageNet has two of missiles and two of sunglasses."""
    names = [line.split("\t")[0] for line in (FOLDER / "classes.tsv").read_text("utf-8").splitlines()]
    seen = look(data.rocket(), "cpu")
    assert len(names) == 1000 and len(seen.names) == len(set(names)) == 998
    assert "a missile" in [name for name, _ in seen.names[:3]]


def test_it_says_where_the_subject_is() -> None:
    """The same photo with its cat at the left of a gray wall, then at the right."""
    photo = data.chelsea()
    wall = np.full_like(photo, 128)
    for parts, left in (((photo, wall), True), ((wall, photo), False)):
        where = look(np.concatenate(parts, axis=1), "cpu").where
        across = where.sum(0)
        half = where.shape[1] // 2
        assert where.min() >= 0 and where.max() == 1
        assert (across[:half].sum() > across[half:].sum()) == left


@pytest.mark.parametrize("shape", [(8, 8), (8, 4000), (3000, 9), (700, 33)])
def test_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    seen = look(np.full((*shape, 3), 90, np.uint8), "cpu")
    assert np.isfinite([share for _, share in seen.names]).all() and seen.where.ndim == 2
    assert {medium for medium, _ in seen.media} == set(MEDIA)


@pytest.mark.parametrize("colour", [(128, 128, 128), (250, 250, 250), (200, 40, 40)])
def test_a_plain_colour_is_no_photo(colour: tuple[int, int, int]) -> None:
    assert look(plain(*colour, side=128), "cpu").media[0][0] == DRAWING
