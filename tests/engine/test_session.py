"""Live sessions: what becomes of the frames that a person sends, and when settings take effect."""

from __future__ import annotations

import time

import numpy as np
import pytest

from artflow.engine.engine import Engine
from artflow.engine.quality import STAGES, QualityController
from artflow.engine.runner import Runner
from artflow.engine.stream_policy import StreamPolicy
from artflow.errors import ArtflowError
from tests.support.live import CAMERA, DRAWING, SIDE, STREAM, Person, difference, held, noisy, plain, settle, wait_until
from tests.support.models import tiny_runner

FRAMES = [noisy(i) for i in range(12)]


# -- the stream batch ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_the_first_pictures_of_a_stream_are_never_shown(engine: Engine, runner: Runner, n: int) -> None:
    """The reference shows n - 1 outputs that are nothing but noise."""
    person = Person(engine, runner, steps=n, strength=0.6)
    alone = Person(engine, runner, DRAWING, steps=n, strength=0.6)
    person.send(*FRAMES[: n + 2])
    results = person.wait_for(3)
    assert [r.frame for r in results] == [0, 1, 2]
    for result, frame in zip(results, FRAMES, strict=False):
        assert difference(result.picture, alone.answer(frame).picture) <= 1


def test_n_steps_of_n_frames_share_a_call(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, steps=4)
    person.send(*FRAMES[:8])
    person.wait_for(5)
    settle(engine)
    assert engine.metrics.calls == 8
    assert engine.metrics.rows == 1 + 2 + 3 + 4 * 5


def test_the_same_seed_is_the_same_picture(engine: Engine, runner: Runner) -> None:
    first, again, other = (Person(engine, runner, DRAWING, seed=seed).answer(FRAMES[0]) for seed in (7, 7, 8))
    assert difference(first.picture, again.picture) == 0
    assert difference(first.picture, other.picture) > 10
    assert first.recipe["seed"] == 7


def test_a_random_seed_is_told_and_makes_the_picture_again(engine: Engine, runner: Runner) -> None:
    random = Person(engine, runner, DRAWING, seed=-1).answer(FRAMES[0])
    again = Person(engine, runner, DRAWING, seed=random.recipe["seed"]).answer(FRAMES[0])
    assert difference(random.picture, again.picture) == 0


# -- settings, any time -------------------------------------------------------------------------------------------

CHANGES = [
    {"prompt": "a blue cat"}, {"negative_prompt": "blurry"}, {"seed": 99}, {"strength": 0.9},
    {"cfg_type": "initialize", "guidance_scale": 1.6}, {"prompt": "a green dog"}, {"cfg_type": "full"},
    {"guidance_scale": 1.0}, {"cfg_type": "self", "guidance_scale": 2.0, "delta": 0.5}, {"prompt": "", "steps": 4},
    {"guidance_scale": 0.0}, {"width": 96, "height": 64}, {"cfg_type": "initialize", "guidance_scale": 3.0},
    {"steps": 1}, {"strength": 0.0}, {"width": 64, "cfg_type": "full"}, {"t_index_list": (5, 20, 40)}, {"steps": 8},
    {"t_index_list": None}, {"cfg_type": "none"}, {"strength": 1.0, "prompt_b": "winter", "blend": 0.5, "seed_b": 5},
]  # fmt: skip


@pytest.mark.parametrize("policy", [STREAM, DRAWING], ids=["camera", "drawing"])
@pytest.mark.parametrize("options", [{}, {"family": "sdxl"}, {"scheduler": "euler", "prediction_type": "v_prediction"}])
def test_any_setting_in_any_mode_acts_on_the_next_frame(engine: Engine, policy: StreamPolicy, options: dict) -> None:
    """The reference raises when the prompt changes under ``initialize`` or ``full``, and when guidance is 1 there."""
    person = Person(engine, tiny_runner(**options), policy, prompt="a red fox", steps=2)
    person.send(*FRAMES[:3])
    for change in CHANGES:
        person.change(**change)
        in_use = person.session.params
        number = person.session.submit(FRAMES[0])
        if policy.pipelined:
            person.send(*FRAMES[1 : len(in_use.t_index_list or range(in_use.steps))])  # to push it out of the stream
        result = wait_until(lambda number=number: next((r for r in person.results if r.frame == number), None))
        assert result.picture is not None, result
        assert result.picture.shape[:2] == (person.session.params.height, person.session.params.width)
        for name in ("prompt", "negative_prompt", "seed", "strength", "cfg_type", "guidance_scale"):
            assert result.recipe[name] == getattr(in_use, name), change
    assert not person.errors


def test_a_prompt_changes_the_picture_and_the_recipe_says_which(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, prompt="a red fox")
    red = person.answer(FRAMES[0])
    person.change(prompt="a blue fox")
    blue = person.answer(FRAMES[0])
    assert (red.recipe["prompt"], blue.recipe["prompt"]) == ("a red fox", "a blue fox")
    assert difference(red.picture, blue.picture) > 10


def test_frames_on_their_way_keep_what_they_began_with(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, steps=2, prompt="before")
    person.send(FRAMES[0])
    settle(engine)
    person.change(prompt="after")
    person.send(FRAMES[1], FRAMES[2])
    assert [r.recipe["prompt"] for r in person.wait_for(2)] == ["before", "after"]


def test_a_size_the_model_cannot_make_names_the_nearest_and_changes_nothing(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING)
    with pytest.raises(ArtflowError, match="width 68 is not a multiple of 8: the nearest are 64 and 72") as caught:
        person.change(width=68, prompt="never")
    assert caught.value.code == "bad_size"
    with pytest.raises(ArtflowError, match="rising whole numbers"):
        person.change(t_index_list=(40, 10))
    assert person.answer(FRAMES[0]).recipe["prompt"] == ""


def test_pictures_of_any_size_and_shape_are_fitted(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING)
    wide = plain(10, 200, 30, side=400)[:100]
    small = plain(10, 200, 30, side=8)
    expected = person.answer(plain(10, 200, 30)).picture
    for frame in (wide, small):
        assert difference(person.answer(frame).picture, expected) <= 1


# -- blends -------------------------------------------------------------------------------------------------------


def test_two_prompts_and_a_slider(engine: Engine, runner: Runner) -> None:
    day = Person(engine, runner, DRAWING, prompt="day").answer(FRAMES[0]).picture
    night = Person(engine, runner, DRAWING, prompt="night").answer(FRAMES[0]).picture
    person = Person(engine, runner, DRAWING, prompt="day", prompt_b="night", blend=0.0)
    assert difference(person.answer(FRAMES[0]).picture, day) == 0
    person.change(blend=0.5)
    middle = person.answer(FRAMES[0]).picture
    assert difference(middle, day) > 3 < difference(middle, night)
    person.change(blend=1.0)
    assert difference(person.answer(FRAMES[0]).picture, night) <= 1


def test_two_seeds_and_a_slider(engine: Engine, runner: Runner) -> None:
    other = Person(engine, runner, DRAWING, seed=20).answer(FRAMES[0]).picture
    person = Person(engine, runner, DRAWING, seed=10, seed_b=20, blend=1.0)
    assert difference(person.answer(FRAMES[0]).picture, other) <= 1


def test_a_new_prompt_fades_in_over_the_transition(engine: Engine, runner: Runner) -> None:
    before = Person(engine, runner, DRAWING, prompt="day").answer(FRAMES[0]).picture
    after = Person(engine, runner, DRAWING, prompt="night").answer(FRAMES[0]).picture
    person = Person(engine, runner, DRAWING, prompt="day", transition=0.3)
    person.answer(FRAMES[0])
    person.change(prompt="night")
    results = [person.answer(FRAMES[0])]
    wait_until(lambda: results.append(person.answer(FRAMES[0])) or "crossfade" not in results[-1].recipe)
    shares = [r.recipe["crossfade"] for r in results[:-1]]
    assert shares[0] < 0.1 and shares == sorted(shares)
    assert difference(results[0].picture, before) <= 1
    assert difference(results[-1].picture, after) <= 1


def test_other_settings_do_not_start_a_fade_again(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, prompt="day", prompt_b="night", blend=0.5, transition=30.0)
    person.answer(FRAMES[0])
    person.change(strength=0.9)
    assert "crossfade" not in person.answer(FRAMES[0]).recipe


# -- which frames are answered ------------------------------------------------------------------------------------


def test_the_latest_frame_wins_and_the_others_are_counted(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, CAMERA, steps=1)
    with held(engine):
        person.send(*FRAMES[:5])
        assert person.session.waiting == 1
    results = person.wait_for(5)
    assert [(r.frame, r.dropped) for r in results] == [(0, True), (1, True), (2, True), (3, True), (4, False)]
    alone = Person(engine, runner, DRAWING, steps=1).answer(FRAMES[4]).picture
    assert difference(results[-1].picture, alone) <= 1
    assert person.session.metrics.snapshot()["dropped"] == 4


def test_every_stroke_is_answered_in_order_at_full_steps(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, steps=4, strength=1.0)
    with held(engine):
        person.send(*FRAMES[:6])
        assert person.session.waiting == 6
    results = person.wait_for(6)
    assert [r.frame for r in results] == list(range(6))
    for result, frame in zip(results, FRAMES, strict=False):  # each shows its own stroke, not the one before
        assert len(result.recipe["timesteps"]) == 4
        alone = Person(engine, runner, DRAWING, steps=4, strength=1.0)
        assert difference(result.picture, alone.answer(frame).picture) <= 1


def test_a_coalescing_canvas_answers_the_newest_stroke(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, StreamPolicy("canvas", pipelined=False, latest_only=True), steps=2)
    with held(engine):
        person.send(*FRAMES[:4])
    assert [(r.frame, r.dropped) for r in person.wait_for(4)] == [(0, True), (1, True), (2, True), (3, False)]


def test_only_so_many_strokes_may_wait(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, StreamPolicy("canvas", pipelined=False, latest_only=False, max_waiting=2))
    with held(engine):
        person.send(*FRAMES[:2])
        with pytest.raises(ArtflowError, match="2 strokes wait already") as caught:
            person.send(FRAMES[2])
    assert caught.value.code == "too_many_waiting"
    assert [r.frame for r in person.wait_for(2)] == [0, 1]
    assert person.answer(FRAMES[3]).frame == 2  # the refused one has no number


def test_a_new_size_shows_the_whole_of_the_last_stroke(engine: Engine, runner: Runner) -> None:
    """Also of what did not fit the old size."""
    sheet = np.concatenate([plain(250, 0, 0), plain(0, 0, 250)], axis=1)  # 128 x 64
    person = Person(engine, runner, DRAWING, strength=0.1)
    person.answer(sheet)
    person.change(width=2 * SIDE)
    assert person.session.repeat()
    fresh = Person(engine, runner, DRAWING, strength=0.1, width=2 * SIDE).answer(sheet)
    assert difference(person.wait_for(2)[-1].picture, fresh.picture) <= 1


def test_settings_alone_show_the_last_stroke_again_under_its_number(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, prompt="day")
    assert not person.session.repeat()  # nothing to repeat yet
    first = person.answer(FRAMES[0])
    person.change(prompt="night")
    assert person.session.repeat()
    again = person.wait_for(2)[-1]
    assert again.frame == first.frame
    assert again.recipe["prompt"] == "night"
    assert difference(again.picture, Person(engine, runner, DRAWING, prompt="night").answer(FRAMES[0]).picture) <= 1


def test_a_stroke_that_waits_shows_new_settings_and_the_repeat_is_dropped(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, prompt="day")
    with held(engine):
        person.send(FRAMES[0])
        person.change(prompt="night")
        assert person.session.repeat()
    repeated, stroke = person.wait_for(2)
    assert repeated.dropped and stroke.recipe["prompt"] == "night"
    assert person.session.metrics.dropped == 0  # every stroke was shown


def test_max_fps_holds_frames_back_until_it_is_lifted(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, STREAM, steps=1, max_fps=0.01)
    person.send(*FRAMES[:4])
    person.wait_for(2)  # the second makes up for the wait before the first
    settle(engine)
    assert (len(person.results), person.session.waiting) == (2, 2)
    person.change(max_fps=0)
    person.wait_for(4)


def test_max_fps_of_one_session_does_not_hold_another(engine: Engine, runner: Runner) -> None:
    slow, free = Person(engine, runner, STREAM, steps=1, max_fps=0.01), Person(engine, runner, STREAM, steps=1)
    slow.send(*FRAMES[:5])
    free.send(*FRAMES[:5])
    free.wait_for(5)
    assert slow.session.waiting == 3


# -- the similar-image filter -------------------------------------------------------------------------------------


def watching(engine: Engine, runner: Runner, **params) -> Person:
    return Person(engine, runner, CAMERA, steps=1, enable_similar_image_filter=True, **params)


def test_a_skipped_frame_costs_no_call_and_sends_no_picture(engine: Engine, runner: Runner) -> None:
    work = []

    class Counting(Runner):
        def encode(self, pictures):
            work.append("encode")
            return super().encode(pictures)

        def decode(self, latents):
            work.append("decode")
            return super().decode(latents)

    person = watching(engine, Counting(runner.model))
    person.answer(FRAMES[0])
    settle(engine)
    before = engine.metrics.calls, list(work)
    skipped = person.answer(FRAMES[0])
    settle(engine)
    assert skipped.skipped and skipped.picture is None and skipped.recipe is None
    assert (engine.metrics.calls, work) == before
    assert person.session.metrics.snapshot()["skipped"] == 1


def test_a_still_scene_saves_nine_calls_in_ten(engine: Engine, runner: Runner) -> None:
    person = watching(engine, runner)
    for _ in range(44):
        person.answer(FRAMES[0])
    settle(engine)
    assert engine.metrics.calls <= 4
    assert sum(r.skipped for r in person.results) >= 40


@pytest.mark.parametrize("change", [{"prompt": "new"}, {"seed": 50}, {"strength": 0.9}, {"steps": 2}, {"width": 96}])
def test_a_setting_that_changes_pictures_lets_the_next_frame_pass(engine: Engine, runner: Runner, change: dict) -> None:
    person = watching(engine, runner)
    person.answer(FRAMES[0])
    assert person.answer(FRAMES[0]).skipped
    person.change(**change)
    person.send(FRAMES[0], *[FRAMES[0]] * (change.get("steps", 1) - 1))
    result = wait_until(lambda: next((r for r in person.results[2:] if not r.skipped), None))
    assert result.picture is not None or result.dropped


def test_settings_of_the_filter_itself_act_at_once(engine: Engine, runner: Runner) -> None:
    person = watching(engine, runner)
    person.answer(FRAMES[0])
    assert person.answer(FRAMES[0]).skipped
    person.change(enable_similar_image_filter=False)
    assert not person.answer(FRAMES[0]).skipped
    person.change(enable_similar_image_filter=True, similar_image_filter_max_skip_frame=1)
    assert [person.answer(FRAMES[0]).skipped for _ in range(4)] == [False, True, False, True]


def test_a_still_scene_comes_back_at_once_after_an_error(
    engine: Engine, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in flight is gone, so the frames that the filter takes for known were never shown."""
    person = Person(engine, runner, STREAM, steps=4, enable_similar_image_filter=True)

    def failing(rows) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as once:
        once.setattr(runner, "predict", failing)
        person.send(FRAMES[0])
        assert person.wait_for(1)[0].error is not None
    person.send(*[FRAMES[0]] * 4)
    wait_until(lambda: person.pictures)


def test_a_still_scene_fades_all_the_same(engine: Engine, runner: Runner) -> None:
    person = watching(engine, runner, transition=30.0, prompt="day")
    person.answer(FRAMES[0])
    person.change(prompt="night")
    assert not any(person.answer(FRAMES[0]).skipped for _ in range(4))


# -- under load ---------------------------------------------------------------------------------------------------


def test_a_latency_session_gives_up_steps_and_size_and_comes_back(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, priority="latency", steps=4, strength=1.0, width=128, height=128)
    stages: dict[str, tuple[int, tuple[int, ...]]] = {}

    def until(stage: str) -> None:
        while person.session.stage != stage:
            result = person.answer(FRAMES[0])
            stages[result.recipe["stage"]] = (result.recipe["steps"], result.picture.shape[:2])

    person.engine_session._quality = QualityController(target=0.0, window=2, patience=1)  # all is too long
    until(STAGES[-1].name())
    person.answer(FRAMES[0])
    stages[STAGES[-1].name()] = (person.results[-1].recipe["steps"], person.results[-1].picture.shape[:2])
    assert stages == {
        "full": (4, (128, 128)),
        "half the steps": (2, (128, 128)),
        "half the steps, 3/4 size": (2, (96, 96)),
        "half the steps, half size": (2, (64, 64)),
    }
    person.engine_session._quality._target = float("inf")  # and now nothing is
    until("full")
    assert person.answer(FRAMES[0]).recipe["steps"] == 4


def test_frames_that_come_slowly_are_no_load(engine: Engine, runner: Runner) -> None:
    """The pipe of a stream of eight steps takes a second to pass then, and the device is idle all the while."""
    person = Person(engine, runner, CAMERA, priority="latency", steps=8, strength=0.6)
    person.engine_session._quality = QualityController(target=1.2, window=4)
    for i in range(24):
        person.send(FRAMES[i % 12])
        time.sleep(0.2)
    assert person.results[-1].latency > 1.2
    assert person.session.stage == "full"


def test_a_frame_that_always_waits_is_no_load(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera is quicker than the model: what waits for the session's own last step does not wait for others."""
    slow = tiny_runner(seed=4)
    predict = slow.predict
    monkeypatch.setattr(slow, "predict", lambda rows: (time.sleep(0.1), predict(rows))[1])
    person = Person(engine, slow, CAMERA, priority="latency", steps=2)
    person.engine_session._quality = QualityController(target=0.35, window=4)
    for i in range(60):
        person.send(FRAMES[i % 12])
        time.sleep(0.03)
    assert len(person.pictures) > 8
    assert person.session.stage == "full"


def test_chosen_steps_are_halved_too(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, priority="latency", t_index_list=(0, 15, 30, 45))
    person.engine_session._quality = QualityController(target=0.0, window=2)
    whole = person.answer(FRAMES[0]).recipe["timesteps"]
    while person.session.stage == "full":
        person.answer(FRAMES[0])
    assert person.answer(FRAMES[0]).recipe["timesteps"] == whole[::2]


@pytest.mark.parametrize(("side", "told"), [(64, "full"), (128, "half size")])
def test_what_is_not_given_up_is_not_told(engine: Engine, runner: Runner, side: int, told: str) -> None:
    """One step cannot be halved, and the model's own size is the least."""
    person = Person(engine, runner, DRAWING, priority="latency", steps=1, width=side, height=side)
    person.engine_session._quality = QualityController(target=0.0, window=2)
    results = [person.answer(FRAMES[0]) for _ in range(10)]
    assert person.engine_session._quality.stage == STAGES[-1]
    assert person.session.stage == results[-1].recipe["stage"] == told
    assert (results[-1].recipe["steps"], results[-1].picture.shape) == (1, (64, 64, 3))


def test_a_quality_session_never_gives_anything_up(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, priority="quality", steps=4, strength=1.0)
    person.engine_session._quality = QualityController(target=0.0, window=2)
    for _ in range(8):
        assert person.answer(FRAMES[0]).recipe["steps"] == 4
    assert person.session.stage == "full"


def test_choosing_quality_under_load_is_full_at_once(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, priority="latency", steps=4, strength=1.0)
    person.engine_session._quality = QualityController(target=0.0, window=2)
    while person.session.stage == "full":
        person.answer(FRAMES[0])
    person.change(priority="quality")
    assert person.answer(FRAMES[0]).recipe["steps"] == 4


def test_pictures_do_not_get_smaller_than_the_model_makes_them(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, priority="latency", steps=2)
    person.engine_session._quality = QualityController(target=0.0, window=2)
    for _ in range(10):
        assert person.answer(FRAMES[0]).picture.shape == (SIDE, SIDE, 3)
