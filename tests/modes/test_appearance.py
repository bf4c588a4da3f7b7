"""What is measured in pixels: every word with a picture that has it, and one that has not."""

from __future__ import annotations

import numpy as np
import pytest

from artflow.images import Picture
from artflow.modes.appearance import Measured, background, colours, composition, light, measured, supported
from tests.support.live import plain


def spot(across: float = 0.5, wide: float = 0.3) -> np.ndarray:
    """Heat of a round subject, of that width, in parts of the picture's."""
    rows, columns = np.mgrid[0:64, 0:64] / 63
    return np.clip(1.5 - np.hypot(rows - 0.5, columns - across) / wide * 2, 0, 1).astype(np.float32)


def scene(subject: tuple[int, int, int], behind: tuple[int, int, int], heat: np.ndarray | None = None) -> Measured:
    """A subject of one colour before another."""
    heat = spot() if heat is None else heat
    picture: Picture = np.where(heat[..., None] > 0.2, np.uint8(subject), np.uint8(behind))
    return measured(picture, heat)


def noise(strength: float, where: np.ndarray) -> Picture:
    values = 128 + np.random.default_rng(0).normal(0, strength, (64, 64)) * where
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((5, 5, 5), "black"), ((250, 250, 250), "white"), ((128, 128, 128), "gray"), ((200, 30, 35), "red"),
        ((70, 150, 60), "green"), ((30, 60, 170), "blue"), ((150, 200, 240), "light blue"), ((120, 75, 45), "brown"),
    ],
)  # fmt: skip
def test_the_background_is_named_and_not_the_subject(colour: tuple[int, int, int], name: str) -> None:
    assert supported(background(scene((240, 150, 185), colour))) == [f"{name} background"]


def test_without_a_known_subject_the_background_is_the_edge() -> None:
    picture = plain(240, 215, 50, side=64)
    picture[8:-8, 8:-8] = (200, 30, 35)
    assert supported(background(measured(picture, None))) == ["yellow background"]


def test_a_background_of_many_colours_is_none() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    assert supported(background(measured(picture, None))) == []


def test_colours_of_a_quarter_of_the_picture_are_tones() -> None:
    picture = plain(250, 250, 250, side=64)
    picture[:20], picture[20:24] = (200, 30, 35), (30, 60, 170)
    assert supported(colours(measured(picture, None))) == ["red tones"]


def test_a_gray_photo_is_black_and_white_and_has_no_tones() -> None:
    assert supported(colours(measured(noise(40, np.ones((64, 64))), None))) == ["black and white"]


def test_dim_bright_soft_and_contrasty() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    cases = {
        "dim light": plain(30, 30, 30, side=64), "bright light": plain(235, 235, 235, side=64),
        "soft light": plain(128, 128, 128, side=64), "strong contrast": np.tile(ramp[:, None, None], (1, 64, 3)),
    }  # fmt: skip
    for term, picture in cases.items():
        said = supported(light(measured(picture, None)))
        assert term in said
        assert not {"dim light", "bright light", "strong contrast"} - {term} & set(said)


@pytest.mark.parametrize(
    ("across", "wide", "said"),
    [
        (0.5, 1.0, {"close-up"}), (0.5, 0.5, {"centred"}), (0.1, 0.6, {"subject on the left"}),
        (0.9, 0.6, {"subject on the right"}), (0.5, 0.1, {"centred", "wide shot"}),
    ],
)  # fmt: skip
def test_where_the_subject_is(across: float, wide: float, said: set[str]) -> None:
    places = {"close-up", "centred", "wide shot", "subject on the left", "subject on the right"}
    found = composition(scene((200, 30, 35), (30, 60, 170), spot(across, wide)))
    assert places & set(supported(found)) == said


def test_without_a_known_subject_nothing_is_said_of_its_place() -> None:
    assert set(composition(measured(plain(9, 9, 9, side=64), None))) == {"symmetrical"}


def test_a_smooth_ground_behind_a_sharp_subject_is_smooth() -> None:
    sharp = spot() > 0.3
    assert "smooth background" in supported(composition(measured(noise(60, sharp), spot())))
    assert "smooth background" not in supported(composition(measured(noise(60, np.ones((64, 64))), spot())))


def test_a_mirrored_picture_is_symmetrical_and_a_plain_one_is_not() -> None:
    half = noise(60, np.ones((64, 64)))[:, :32]
    mirrored = np.concatenate([half, half[:, ::-1]], axis=1)
    assert "symmetrical" in supported(composition(measured(mirrored, None)))
    horizon = np.concatenate([plain(220, 220, 220, side=64)[:32], plain(30, 60, 20, side=64)[:32]])
    for other in (noise(60, np.ones((64, 64))), plain(90, 90, 90, side=64), horizon):
        assert "symmetrical" not in supported(composition(measured(other, None)))


@pytest.mark.parametrize("shape", [(8, 8), (8, 4000), (3000, 9)])
def test_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    seen = measured(np.full((*shape, 3), 100, np.uint8), np.ones((1, 2), np.float32))
    for terms in (background(seen), colours(seen), light(seen), composition(seen)):
        assert all(0 <= strength <= 1 for strength in terms.values())
