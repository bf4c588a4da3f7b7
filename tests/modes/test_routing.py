"""Which models make a live picture: the prompt's words decide, unless one is chosen."""

from __future__ import annotations

import pytest

from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec, load_catalog
from artflow.modes.routing import at_hand, route, start

CATALOG = load_catalog()
POCKET, PAINTER, TURBO = (CATALOG.get(name) for name in ("pocket", "painter", "stabilityai/sd-turbo"))


@pytest.mark.parametrize(
    ("prompt", "models", "drawn"),
    [
        ("", ["painter"], ""),
        ("van gogh", ["painter"], "van gogh"),
        ("(cubism:1.5), 马赛克", ["painter"], "(cubism:1.5), 马赛克"),
        ("a cat on grass", ["pocket"], "a cat on grass"),
        ("草地上的猫", ["pocket"], "草地上的猫"),
        ("a zeppelin", ["pocket"], "a zeppelin"),  # which names it as a word that it does not know
        ("a lion on grass, van gogh", ["pocket", "painter"], "a lion on grass"),
        ("a lion in the style of hokusai", ["pocket", "painter"], "a lion"),
        ("a butterfly on a pink background, watercolor", ["pocket"], "a butterfly on a pink background, watercolor"),
        ("a cat on grass <lora:neon:0.8>", ["pocket"], "a cat on grass"),
        ("van gogh <lora:neon:0.8>", ["pocket"], "van gogh"),  # no painter takes it
    ],
)
@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_the_words_choose(mode: str, prompt: str, models: list[str], drawn: str) -> None:
    way = route(mode, LiveParams(prompt=prompt), POCKET, CATALOG)
    assert [spec.id for spec in (way.spec, way.over) if spec is not None] == models
    assert way.prompt.removesuffix(" on a white background") == drawn


def test_in_the_webcam_a_small_model_is_told_of_a_background() -> None:
    """Else a haze of the camera's picture stays around the thing; on a canvas what is around it has been drawn."""

    def drawn(prompt: str, mode: str = "realtime", own: ModelSpec = POCKET) -> str:
        return route(mode, LiveParams(prompt=prompt), own, CATALOG).prompt

    assert drawn("a dog") == "a dog on a white background"
    assert drawn("two Cats, cartoon") == "two Cats on a white background, cartoon"
    assert drawn("一只狗") == "一只狗，白色背景"
    for place in ("a dog in space", "a dog on the beach", "a dog under a night sky", "草地上的狗"):
        assert drawn(place) == place
    assert drawn("a zeppelin") == "a zeppelin"
    assert drawn("a dog", "canvas") == drawn("a dog", own=TURBO) == "a dog"


def test_a_picture_as_the_style_asks_for_the_painter() -> None:
    assert route("realtime", LiveParams(style_picture="x"), POCKET, CATALOG).spec is PAINTER
    way = route("realtime", LiveParams(prompt="a cat", style_picture="x"), POCKET, CATALOG)
    assert (way.spec, way.prompt, way.over) == (POCKET, "a cat on a white background", PAINTER)


def test_who_is_chosen_gets_the_whole_prompt() -> None:
    prompt = "a lion on grass, van gogh"
    for spec in (POCKET, PAINTER, TURBO):
        assert route("realtime", LiveParams(prompt=prompt, model=spec.id), POCKET, CATALOG) == (spec, prompt, None)


def test_what_is_steered_is_drawn() -> None:
    steered = {"control": [{"kind": "scribble"}]}
    for prompt, over in (("", None), ("van gogh", None), ("a cat", None), ("a lion, hokusai", PAINTER)):
        way = route("realtime", LiveParams(prompt=prompt, **steered), POCKET, CATALOG)
        assert (way.spec, way.over) == (POCKET, over)


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(ArtflowError) as caught:
        route("realtime", LiveParams(model="nothing"), POCKET, CATALOG)
    assert caught.value.code == "unknown_model"


def test_a_model_that_knows_styles_itself_gets_all() -> None:
    assert route("realtime", LiveParams(prompt="van gogh"), TURBO, CATALOG).spec is TURBO
    assert start("realtime", TURBO, CATALOG) is TURBO


def test_live_inpaint_is_drawn() -> None:
    assert route("inpaint", LiveParams(prompt="van gogh"), POCKET, CATALOG).spec is POCKET


def test_the_webcam_starts_with_the_painter_and_the_canvas_does_not() -> None:
    assert start("realtime", POCKET, CATALOG) is PAINTER
    assert start("canvas", POCKET, CATALOG) is POCKET


def test_what_words_may_choose_is_at_hand_before_the_first_frame() -> None:
    assert at_hand("realtime", POCKET, CATALOG) == [PAINTER, POCKET]
    assert at_hand("canvas", POCKET, CATALOG) == [POCKET, PAINTER]
    assert at_hand("inpaint", POCKET, CATALOG) == [POCKET]
    assert at_hand("realtime", TURBO, CATALOG) == [TURBO]  # nothing is downloaded for words that nobody has typed
