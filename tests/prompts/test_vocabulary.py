"""What the model that ships knows: unknown words are named, Chinese becomes captions of the kind it was taught."""

from __future__ import annotations

import unicodedata

import pytest

from artflow.models.catalog import load_catalog
from artflow.prompts.vocabulary import Vocabulary, load_vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """That of the embedded model."""
    loaded = load_vocabulary(load_catalog().get("pocket").source.folder)
    assert loaded is not None
    return loaded


def test_all_that_it_lists_is_known(vocabulary: Vocabulary) -> None:
    for thing in vocabulary.things:
        for background in vocabulary.backgrounds:
            for style in vocabulary.styles:
                assert vocabulary.read(f"a {thing} on a {background}, {style}").unknown == ()


def test_known_prompts_are_left_as_they_are(vocabulary: Vocabulary) -> None:
    reading = vocabulary.read("A red apple on a blue background")
    assert reading.text == "A red apple on a blue background"
    assert reading.unknown == ()


def test_words_it_was_never_taught_are_named_once(vocabulary: Vocabulary) -> None:
    assert vocabulary.read("a zeppelin, a zeppelin and a cat").unknown == ("zeppelin",)


def test_words_with_accents_are_one_word(vocabulary: Vocabulary) -> None:
    for word in ("Ünïcödé", "U\u0308ni\u0308co\u0308de\u0301", "лиса"):
        assert vocabulary.read(f"a {word} cat").unknown == (unicodedata.normalize("NFC", word).lower(),)


@pytest.mark.parametrize(
    ("chinese", "caption"),
    [
        ("猫", "a cat"),
        ("草地上的猫", "a cat on grass"),
        ("一只猫在夜空下的草地上", "a cat on grass under a night sky"),
        ("蓝色背景上的狗", "a dog on a blue background"),
        ("貓", "a cat"),
        ("一只Cat在草地上", "a cat on grass"),
        ("space里的机器人", "a robot in space"),
        ("猫 on a blue background", "a cat on a blue background"),
        ("a 猫 under a night sky", "a cat under a night sky"),
    ],
)
def test_chinese_names_become_captions(vocabulary: Vocabulary, chinese: str, caption: str) -> None:
    reading = vocabulary.read(chinese)
    assert reading.text == caption
    assert reading.unknown == ()


def test_unknown_chinese_is_named(vocabulary: Vocabulary) -> None:
    reading = vocabulary.read("草地上的潜水艇")
    assert reading.text == "on grass"
    assert reading.unknown == ("潜水艇",)


def test_other_models_are_not_limited(tmp_path) -> None:
    assert load_vocabulary(tmp_path) is None
    assert load_vocabulary(None) is None
