"""Words for photos: the subject, how sure it is, and in each mode nothing that no measurement supports."""

from __future__ import annotations

import numpy as np
import pytest

from artflow.models.classifier import DRAWING, PAINTING, PHOTO, Look
from artflow.models.faces import Face
from artflow.modes.describe import describe, subject
from artflow.modes.interrogate import MODES
from tests.support.live import plain

WALL = plain(120, 75, 45, side=64)  # brown and evenly lit
HEAT = np.zeros((7, 7), np.float32)
HEAT[2:5, 2:5] = 1
NEAR, FAR = Face(0.3, 0.2, 0.4, 0.5), Face(0.1, 0.4, 0.1, 0.12)


def seen(*names: tuple[str, float], kind: tuple[str, float] = ("a cat", 0.0), medium: str = PHOTO) -> Look:
    others = [(other, 0.05) for other in (PHOTO, PAINTING, DRAWING) if other != medium]
    return Look(list(names), [kind], [(medium, 0.9), *others], HEAT)


CAT = seen(("a tabby cat", 0.8), ("a lynx", 0.1), kind=("a cat", 0.85))


def test_a_name_that_is_sure_and_what_is_measured() -> None:
    found = describe(WALL, CAT, [], "best")
    assert found.prompt == "a photo of a tabby cat, brown background, soft light, centred"
    assert found.similarity is None


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (seen(("a pug", 0.2), ("a Boxer", 0.2), kind=("a dog", 0.6)), "a photo of a dog"),
        (seen(("an Egyptian Mau", 0.4), ("a tiger cat", 0.39), kind=("a cat", 0.9)), "a photo of a cat"),
        (seen(("a whistle", 0.2), ("a lighter", 0.1), kind=("a ball", 0.05)), "a photo, perhaps of a whistle"),
        (seen(("a castle", 0.9), kind=("a building", 0.95), medium=PAINTING), "a painting of a castle"),
    ],
)
def test_what_is_said_follows_how_sure_it_is(look: Look, said: str) -> None:
    assert describe(WALL, look, [], "best").prompt.startswith(f"{said}, ")


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ([NEAR], "a portrait of a person, a photo"), ([FAR], "a photo of a person"),
        ([NEAR, FAR], "a photo of two people"), ([FAR] * 7, "a photo of a group of people"),
    ],
)  # fmt: skip
def test_people_are_who_a_photo_shows(faces: list[Face], said: str) -> None:
    found = describe(WALL, CAT, faces, "best")
    assert found.prompt.startswith(f"{said}, ")
    assert found.groups["subject"] == [(subject(CAT, faces).name, 1.0)]


def test_a_monkey_is_no_person() -> None:
    look = seen(("a macaque", 0.5), ("a langur", 0.1), kind=("a monkey", 0.7))
    assert describe(WALL, look, [NEAR], "best").prompt.startswith("a photo of a macaque, ")


def test_an_unsure_guess_and_a_person_have_no_known_place() -> None:
    """The classifier's heat is of its own first name."""
    for look, faces in ((seen(("a whistle", 0.2)), []), (CAT, [FAR])):
        assert "centred" not in describe(WALL, look, faces, "best").prompt
        assert "centred" not in dict(describe(WALL, look, faces, "best").groups["composition"])


def test_modes_say_less_and_negative_says_what_it_is_not() -> None:
    prompts = {mode: describe(WALL, CAT, [], mode).prompt.split(", ") for mode in MODES}
    assert prompts["fast"][0] == prompts["classic"][0] == "a photo of a tabby cat"
    assert len(prompts["fast"]) <= 4 and set(prompts["fast"]) < set(prompts["best"])
    assert set(prompts["classic"]) <= set(prompts["best"])
    assert prompts["negative"][:2] == [PAINTING, DRAWING] and not set(prompts["negative"]) & set(prompts["best"])


def test_every_group_has_its_terms_and_their_shares() -> None:
    groups = describe(WALL, CAT, [], "fast").groups
    assert list(groups) == ["subject", "medium", "background", "light", "colour", "composition"]
    assert groups["subject"] == CAT.names
    for terms in groups.values():
        shares = [share for _, share in terms]
        assert shares == sorted(shares, reverse=True) and 0 <= sum(shares) <= 1 + 1e-6 and len(terms) <= 5


def test_a_picture_without_any_measured_word() -> None:
    """Noise: no colour is common, and light and dark are spread as in most pictures."""
    picture = np.random.default_rng(2).integers(0, 256, (4, 4, 3), np.uint8).repeat(32, 0).repeat(32, 1)
    assert describe(picture, seen(("a quilt", 0.5)), [], "best").prompt.startswith("a photo of a quilt")
