"""Every file of the corpus is opened, the right way up and in the right colours."""

from __future__ import annotations

import numpy as np
import pytest

from artflow.images import decode, decode_photo, size_of, to_srgb
from tests.corpus.pictures import CASES, LYING, Case

LIMIT = 10_000


def block_and_paper(picture: np.ndarray, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A pixel of the block, which is in the upper right corner of a picture that is turned by a quarter, and one of
    the paper."""
    row, column = (4, 4) if case.size == LYING else (4, -4)
    return picture[row, column, :3], picture[-4, 4, :3]


@pytest.mark.parametrize("name", CASES)
def test_it_looks_as_it_should(name: str) -> None:
    case = CASES[name]()
    picture = decode(case.data, max_pixels=LIMIT)
    assert picture.shape == (case.size[1], case.size[0], 3)
    assert size_of(case.data, max_pixels=LIMIT) == case.size
    for seen, meant in zip(block_and_paper(picture, case), (case.block, case.paper), strict=True):
        assert np.abs(seen.astype(int) - meant).max() <= case.within, (seen, meant)


@pytest.mark.parametrize("name", CASES)
def test_a_reduced_copy_looks_the_same(name: str) -> None:
    case = CASES[name]()
    picture = decode(case.data, max_pixels=LIMIT, longest=24)
    assert picture.shape == (case.size[1] // 2, case.size[0] // 2, 3)
    row, column = (2, 2) if case.size == LYING else (2, -2)
    assert np.abs(picture[row, column].astype(int) - case.block).max() <= case.within + 2


@pytest.mark.parametrize("name", CASES)
def test_in_its_own_colours_it_is_the_same_picture(name: str) -> None:
    """What is kept beside what the model is shown: the file's own bytes, and how they are to be understood."""
    case = CASES[name]()
    photo = decode_photo(case.data, max_pixels=LIMIT)
    shown = to_srgb(photo.pixels, photo.profile)
    seen = block_and_paper(shown, case)[0]
    assert np.abs(seen.astype(int) - case.block).max() <= case.within
    wide = name.startswith(("p3", "adobe", "profile-of"))
    assert (photo.profile is not None) == wide
    if wide:
        own = block_and_paper(photo.pixels, case)[0]
        assert np.abs(own.astype(int) - (200, 100, 50)).max() <= case.within
