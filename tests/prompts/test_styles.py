"""Which styles a prompt names: in three languages, with weights, mixed, and inside sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from artflow.prompts.styles import Styles, styles


@pytest.fixture(scope="module")
def known() -> Styles:
    return styles(Path("nowhere"))


@pytest.mark.parametrize(
    ("prompt", "shares"),
    [
        ("van gogh", {"van-gogh": 1}),
        ("Van Gogh", {"van-gogh": 1}),
        ("van-gogh", {"van-gogh": 1}),
        ("starry night", {"van-gogh": 1}),
        ("梵高", {"van-gogh": 1}),
        ("梵谷風格", {"van-gogh": 1}),
        ("van gogh, mosaic", {"van-gogh": 0.5, "mosaic": 0.5}),
        ("(van gogh:1.5), mosaic", {"van-gogh": 0.6, "mosaic": 0.4}),
        ("(van gogh, mosaic:2), cubism", {"van-gogh": 0.4, "mosaic": 0.4, "cubism": 0.2}),
        ("(mosaic), frost", {"mosaic": 1.1 / 2.1, "frost": 1 / 2.1}),
        ("a painting in the style of van gogh", {"van-gogh": 1}),
        ("an oil painting", {"impasto": 1}),
        ("mosaic, mosaic, frost", {"mosaic": 2 / 3, "frost": 1 / 3}),
        ("(mosaic:0), frost", {"mosaic": 0, "frost": 1}),
        ("(mosaic:99999), frost", {"mosaic": 10 / 11, "frost": 1 / 11}),
        ("", {}),
        ("(:1.5)", {}),
        ("a cat", {}),
        ("(((", {}),
    ],
)
def test_the_styles_of_a_prompt(known: Styles, prompt: str, shares: dict[str, float]) -> None:
    found = known.find(prompt)
    assert dict(found.styles) == pytest.approx(shares)
    if shares:
        assert found.rest == ""


@pytest.mark.parametrize(
    ("prompt", "styles", "rest"),
    [
        ("a lion on grass, van gogh", {"van-gogh"}, "a lion on grass"),
        ("a lion in the style of van gogh", {"van-gogh"}, "a lion"),
        ("a van gogh painting of a lion", {"van-gogh"}, "a lion"),
        ("van gogh, a cat and a dog", {"van-gogh"}, "a cat and a dog"),
        ("a wave on the beach", set(), "a wave on the beach"),  # the word alone names a style, in a sentence a thing
        ("a castle, wave", {"hokusai"}, "a castle"),
    ],
)
def test_what_is_left_of_a_prompt(known: Styles, prompt: str, styles: set[str], rest: str) -> None:
    found = known.find(prompt)
    assert set(found.styles) == styles
    assert found.rest == rest


def test_what_painter_is_told(known: Styles) -> None:
    assert known.read("(van gogh:1.5), mosaic").text == "van-gogh:0.6000 mosaic:0.4000"
    assert known.read("").text == f"{known.default}:0.0000"


def test_words_that_are_no_style_are_named(known: Styles) -> None:
    assert known.read("a zeppelin in the style of van gogh").unknown == ("zeppelin",)
    assert known.facts("van gogh, zeppelin") == {"styles": {"van-gogh": 1.0}, "unknown_words": ["zeppelin"]}
    assert known.facts("zeppelin") == {"default_style": known.default, "unknown_words": ["zeppelin"]}


def test_every_name_in_every_language_names_its_style(known: Styles) -> None:
    for style in known.styles:
        assert set(style.names) == {"en", "zh-Hans", "zh-Hant"}
        for name in (style.id, *style.names.values(), *style.aliases, *style.alone):
            assert dict(known.find(name).styles) == {style.id: 1.0}, name


def test_a_style_that_was_learned_goes_by_its_name(tmp_path: Path) -> None:
    assert styles(tmp_path).find("grandma's quilt").styles == {}
    save_file({"style": torch.zeros(990)}, tmp_path / "quilt.safetensors", {"name": "Grandma's quilt"})
    assert styles(tmp_path).find("grandma's quilt").styles == {"quilt": 1.0}
    assert styles(tmp_path).find("quilt, mosaic").styles == {"quilt": 0.5, "mosaic": 0.5}
