"""The face detector: how many faces, where, and none where there is none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from artflow.models.faces import Face, find_faces


def test_a_face_is_found_where_it_is_at_any_size() -> None:
    photo = data.astronaut()
    for side in (96, 512, 1500):
        (face,) = find_faces(cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA))
        assert np.allclose(face, Face(0.35, 0.12, 0.18, 0.22), atol=0.04)


def test_two_people_the_larger_first() -> None:
    photo = data.astronaut()
    wide = np.zeros((512, 1024, 3), np.uint8)
    wide[:, 512:], wide[100:356, 100:356] = photo, photo[::2, ::2]
    larger, smaller = find_faces(wide)
    assert larger.left > 0.5 > smaller.left and larger.height > smaller.height


def test_no_face_in_photos_of_things_and_animals() -> None:
    assert not find_faces(data.chelsea()) and not find_faces(data.coffee()) and not find_faces(data.rocket())


@pytest.mark.parametrize("shape", [(8, 8), (8, 3000), (3000, 9)])
def test_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    assert find_faces(np.zeros((*shape, 3), np.uint8)) == []


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    find_faces(data.astronaut())
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
