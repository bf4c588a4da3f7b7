"""A live session that moves between the models that ship with the app, as its prompt is changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from artflow.engine.stream_policy import Result
from artflow.errors import ArtflowError
from artflow.images import Size, resized
from artflow.pipeline import Pipeline
from artflow.settings import Settings, load_settings
from tests.support.live import PATIENCE, noisy, wait_until


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    settings: Settings = load_settings(environ={})
    made = Pipeline(settings)
    yield made
    made.close()


class Live:
    """Somebody at the webcam or the canvas, and what came back."""

    def __init__(self, pipeline: Pipeline, mode: str = "realtime", **changes: Any) -> None:
        self.pipeline, self.mode = pipeline, mode
        self.results: list[Result] = []
        self.moves: list[ArtflowError | None] = []
        self._came = threading.Condition()
        model = pipeline.live.load_for(mode)[0].info.result(PATIENCE)
        still = {"enable_similar_image_filter": False, "width": 64, "height": 64}
        self.session = pipeline.live.open(mode, model, still | changes, self._take)

    def _take(self, result: Result) -> None:
        with self._came:
            self.results.append(result)
            self._came.notify_all()

    def change(self, **changes: Any) -> None:
        """Change settings, and wait for the models that they need."""
        self.pipeline.live.change(self.mode, self.session, changes, lambda error, _: self.moves.append(error))
        wait_until(lambda: self.session.waits_for is None, "the model")

    def answer(self, seed: int = 1) -> Result:
        """The fate of one more frame."""
        with self._came:
            number = self.session.submit(noisy(seed))
            assert self._came.wait_for(lambda: any(r.frame == number for r in self.results), PATIENCE)
            return next(r for r in self.results if r.frame == number)

    def picture(self, seed: int = 1) -> Result:
        """The same where it has to be a picture."""
        result = self.answer(seed)
        assert result.error is None and result.recipe is not None and result.picture is not None, result
        return result


@pytest.fixture
def person(pipeline: Pipeline) -> Iterator[Live]:
    live = Live(pipeline)
    yield live
    live.session.close()


def test_the_webcam_is_painted_from_the_start(person: Live) -> None:
    recipe = person.picture().recipe
    assert recipe is not None
    assert (recipe["model"], recipe["styles"]) == ("painter", {"van-gogh": 1.0})


def test_the_prompt_moves_it_from_model_to_model(person: Live) -> None:
    for prompt, models in (
        ("a cat on grass", ["pocket"]),
        ("a lion on grass, van gogh", ["pocket", "painter"]),
        ("a lion on grass, mosaic", ["pocket", "painter"]),
        ("a lion on grass", ["pocket"]),
        ("mosaic", ["painter"]),
        ("a cat, mosaic", ["pocket", "painter"]),
        ("frost", ["painter"]),
    ):
        person.change(prompt=prompt)
        assert person.session.served_by == models, prompt
        assert person.picture().recipe["prompt"] == prompt  # type: ignore[index]
    assert person.moves == [None] * 6  # one change of seven left the models as they were


def test_what_is_drawn_is_painted_over_and_the_recipe_says_so(person: Live) -> None:
    person.change(prompt="a lion on grass, van gogh")
    over = person.picture()
    assert over.recipe is not None and over.picture is not None
    assert over.recipe["model"] == "pocket" and over.recipe["prompt_used"] == "a lion on grass"
    assert over.recipe["painted_over"] == {"model": "painter", "strength": 1.0, "styles": {"van-gogh": 1.0}}
    person.change(prompt="a lion on grass")
    plain = person.picture()
    assert plain.picture is not None
    drawn = resized(plain.picture, Size(64, 64))
    assert np.abs(over.picture.astype(float) - drawn).mean() > 10


def test_settings_at_their_default_follow_the_model_and_others_stay(person: Live) -> None:
    assert person.session.params.strength == 1.0
    person.change(prompt="a cat on grass")
    assert person.session.params.strength == 0.55
    person.change(strength=0.3)
    person.change(prompt="frost")
    assert person.session.params.strength == 0.3
    person.change(prompt="a cat on grass", strength=0.7)
    assert person.session.params.strength == 0.7


def test_sizes_are_the_models_own_where_none_is_asked_for(person: Live) -> None:
    person.change(width=0, height=0, prompt="a cat on grass")
    assert (person.session.sized.width, person.session.sized.height) == (128, 128)
    side = person.pipeline.load("painter").info.result(PATIENCE).width
    person.change(prompt="frost")
    assert (person.session.sized.width, person.session.sized.height) == (side, side)
    person.change(width=96, height=64)
    person.change(prompt="a cat on grass")  # which its model draws well at its own size alone
    assert person.picture().picture.shape == (128, 128, 3)  # type: ignore[union-attr]
    person.change(model="pocket")  # whoever chooses it gets what they ask for
    assert person.picture().picture.shape == (64, 96, 3)  # type: ignore[union-attr]
    person.change(model="", prompt="frost")
    assert person.picture().picture.shape == (64, 96, 3)  # type: ignore[union-attr]


def test_every_frame_is_answered_while_models_change(person: Live) -> None:
    for i, prompt in enumerate(["frost", "a cat", "a cat, frost", "mosaic", "a dog, mosaic", "a dog"] * 2):
        person.session.submit(noisy(i))
        person.change(prompt=prompt)
        person.session.submit(noisy(i + 50))
    wait_until(lambda: len({r.frame for r in person.results}) == 24, "24 answers")
    assert not [r.error for r in person.results if r.error is not None]
    assert len(person.results) == 24


def test_a_drawing_is_answered_stroke_by_stroke_through_both(pipeline: Pipeline) -> None:
    live = Live(pipeline, "canvas")
    live.change(prompt="a lion on grass, van gogh")
    numbers = [live.session.submit(noisy(i)) for i in range(5)]
    wait_until(lambda: len(live.results) == 5, "5 answers")
    assert [r.frame for r in live.results] == numbers
    assert all(r.recipe is not None and "painted_over" in r.recipe for r in live.results)
    live.session.close()


def test_a_model_that_cannot_be_had_leaves_the_old_one_running(person: Live) -> None:
    person.change(model="stabilityai/sd-turbo")  # no Hub here
    wait_until(lambda: person.moves, "the reason")
    (error,) = person.moves
    assert error is not None and error.code == "download_failed"
    assert person.session.served_by == ["painter"]
    person.picture()
    with pytest.raises(ArtflowError) as caught:
        person.change(model="nothing")
    assert caught.value.code == "unknown_model"
    person.picture()


def test_after_a_failed_load_other_settings_can_be_changed(person: Live) -> None:
    person.pipeline.live.change("realtime", person.session, {"model": "stabilityai/sd-turbo"}, lambda *_: None)
    person.change(strength=0.7)  # while the model is being asked for
    person.change(model="", prompt="frost")
    assert person.session.served_by == ["painter"]
    assert (person.session.params.model, person.session.params.strength) == ("", 0.7)
    assert person.picture().recipe["styles"] == {"frost": 1.0}  # type: ignore[index]


def test_two_models_that_do_not_fit_together_are_refused(pipeline: Pipeline) -> None:
    tight = Pipeline(load_settings(environ={"ARTFLOW_MODEL__MAX_LOADED": "1"}))
    live = Live(tight)
    with pytest.raises(ArtflowError) as caught:
        live.change(prompt="a lion, van gogh")
    assert caught.value.code == "busy"
    assert live.session.served_by == ["painter"]
    live.session.close()
    tight.close()


def test_people_in_styles_of_their_own_share_calls(pipeline: Pipeline) -> None:
    people = [Live(pipeline, prompt=style) for style in ("mosaic", "frost", "cubism")]
    alone = [one.picture(7).picture for one in people]
    for one in people:
        one.session.submit(noisy(7))
    wait_until(lambda: all(len(one.results) == 2 for one in people), "everybody's picture")
    for one, before in zip(people, alone, strict=True):
        assert np.array_equal(one.results[-1].picture, before)  # type: ignore[arg-type]
        one.session.close()


def test_strength_keeps_that_much_of_the_camera(person: Live) -> None:
    person.change(prompt="frost", strength=0.0)
    shown = person.picture().picture
    assert shown is not None and np.abs(shown.astype(float) - noisy(1)).max() <= 1
    person.change(strength=0.5)
    half = person.picture().picture
    person.change(strength=1.0)
    whole = person.picture().picture
    assert half is not None and whole is not None
    assert np.abs(half - (whole.astype(float) + noisy(1)) / 2).max() <= 1.5


def test_a_change_of_style_fades(person: Live) -> None:
    person.change(prompt="frost", transition=30.0)
    person.picture()
    person.change(prompt="mosaic")
    recipe = person.picture().recipe
    assert recipe is not None and 0 <= recipe["crossfade"] < 0.5


def test_who_leaves_frees_both_sessions(pipeline: Pipeline) -> None:
    live = Live(pipeline)
    live.change(prompt="a cat, mosaic")
    live.picture()
    assert pipeline.live.count == 1 and pipeline.client.sessions == 2
    live.session.close()
    assert pipeline.live.count == 0
    wait_until(lambda: pipeline.client.sessions == 0, "the engine to let go")


def test_a_job_of_a_model_that_only_paints_is_one_sentence(pipeline: Pipeline) -> None:
    with pytest.raises(ArtflowError) as caught:
        pipeline.generate({"model": "painter", "prompt": "a cat"})
    assert caught.value.code == "unsuitable_model" and "pocket" in caught.value.message
