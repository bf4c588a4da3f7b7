"""The one pipeline behind all tabs and routes: models, sessions, jobs and their limits."""

from __future__ import annotations

import gc
import logging
import re
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.job_context import JobContext
from artflow.machine import cores
from artflow.models.catalog import Catalog, Defaults, ModelSpec
from artflow.models.info import ModelInfo
from artflow.pipeline import Pipeline
from tests.api.client import tiny_catalog, tiny_settings
from tests.support.control import lines, tiny_controls  # noqa: F401 - a fixture
from tests.support.live import PATIENCE, held, noisy, wait_until
from tests.support.models import tiny_folder
from tests.support.safety import build_checker

torch.set_num_threads(1)


def three_models() -> Catalog:
    third = ModelSpec(id="third", source={"folder": tiny_folder(seed=2)}, width=64, height=64)
    return Catalog(models=[*tiny_catalog().models, third])


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline(tiny_settings(ARTFLOW_MODEL__MAX_LOADED="2"), three_models())
    yield pipeline
    pipeline.close()


def loaded(pipeline: Pipeline, model: str = "") -> ModelInfo:
    """What is known of a model, once it is loaded."""
    return pipeline.load(model).info.result(PATIENCE)


def test_nothing_is_loaded_until_somebody_asks_and_then_once(pipeline: Pipeline) -> None:
    assert not pipeline.loaded
    first = pipeline.load()
    assert pipeline.load("tiny") is first
    assert first.info.result(PATIENCE) is loaded(pipeline)


def test_on_a_cpu_the_one_copy_of_the_weights_is_packed(pipeline: Pipeline) -> None:
    runner = pipeline.client.pool.runner(loaded(pipeline).id)
    assert runner.model.unet.time_embedding.linear_1.weight.is_mkldnn


def test_an_errand_on_a_cpu_has_a_thread_of_its_own_which_ends_with_it(pipeline: Pipeline) -> None:
    thread = pipeline.client.errand(threading.current_thread)
    engine = pipeline.client.engine.run_on_engine_thread(threading.current_thread).result(PATIENCE)
    assert thread not in (threading.current_thread(), engine)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_an_errand_on_a_cpu_has_all_cores_while_nobody_is_served_live(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipeline.client.errand(torch.get_num_threads) == cores()
    monkeypatch.setattr("artflow.engine.engine.LATELY", PATIENCE)
    answered = threading.Event()
    session = pipeline.live.open("canvas", loaded(pipeline), {"steps": 1}, lambda _: answered.set())
    session.submit(np.zeros((64, 64, 3), np.uint8))
    assert answered.wait(PATIENCE)
    assert pipeline.client.errand(torch.get_num_threads) == 1


def test_text_to_picture(pipeline: Pipeline) -> None:
    made = pipeline.generate({"prompt": "a fox", "seed": 3, "batch_count": 2, "cfg": 2.0})
    assert [(m.picture.shape, m.recipe["seed"]) for m in made] == [((64, 64, 3), 3), ((64, 64, 3), 4)]
    assert made[0].recipe["guidance_scale"] == 2.0
    assert made[0].recipe["model"] == "tiny"


def test_text_to_picture_steered_by_the_lines_of_another(tiny_controls: None, pipeline: Pipeline) -> None:  # noqa: F811
    asked = {"prompt": "a fox", "steps": 2, "seed": 1, "width": 64, "height": 64}
    control = [{"kind": "canny", "weight": 0.8}]
    plain = pipeline.generate(asked)[0]
    made = pipeline.generate(asked | {"control": control}, control_picture=lines(96))[0]
    assert made.recipe["control"][0]["kind"] == "canny" and "control" not in plain.recipe
    assert np.abs(made.picture.astype(int) - plain.picture).mean() > 1
    with pytest.raises(ArtflowError, match="needs a picture"):
        pipeline.generate(asked | {"control": control})
    with pytest.raises(ArtflowError, match="no control 'pose'; there are canny"):
        pipeline.generate(asked | {"control": [{"kind": "pose"}]}, control_picture=lines())
    picture, mask = noisy(1), np.full((64, 64), 255, np.uint8)
    repainted = pipeline.inpaint(picture, mask, {"prompt": "a fox", "steps": 2, "control": control})[0]
    assert repainted.recipe["control"][0]["weight"] == 0.8
    redrawn = pipeline.upscale(
        picture, {"prompt": "a fox", "factor": 2, "strength": 0.5, "steps": 2, "control": control}
    )
    assert redrawn[0].picture.shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"width": 100}, "bad_size", "the nearest are 96 and 104"),
        ({"height": 4096}, "bad_size", "from 16 to 1024"),
        ({"sampler": "Foo"}, "unknown_sampler", "'Foo'.*Euler a"),
        ({"guidance_scale": float("nan")}, "bad_parameter", "guidance_scale"),
        ({"steps": 0}, "bad_parameter", "`steps` cannot be 0"),
        ({"steps": 51, "sampler": "LCM"}, "bad_parameter", "steps cannot be 51: LCM makes at most 50"),
        ({"stepz": 3}, "bad_parameter", "`stepz` does not exist.*allowed are"),
        ({"prompt": "x" * 1001}, "prompt_too_long", "1001 characters; at most 1000"),
        ({"model": "../etc"}, "unknown_model", "tiny, other, third"),
    ],
)
def test_what_cannot_be_asked_is_told(pipeline: Pipeline, changes: dict, code: str, words: str) -> None:
    with pytest.raises(ArtflowError, match=words) as caught:
        pipeline.generate(changes)
    assert caught.value.code == code
    assert pipeline.metrics()["jobs"] == 0


def test_only_so_many_jobs_at_once_also_while_their_model_loads() -> None:
    pipeline = Pipeline(tiny_settings(ARTFLOW_SERVER__MAX_JOBS="2"), tiny_catalog())
    with held(pipeline.client.engine):  # no model can finish its warm-up
        threads = [threading.Thread(target=pipeline.generate, args=({"seed": i},)) for i in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: pipeline.metrics()["jobs"] == 2)
        with pytest.raises(ArtflowError, match="2 jobs run or wait already") as caught:
            pipeline.generate({})
        assert caught.value.code == "busy"
    for thread in threads:
        thread.join(PATIENCE)
    assert pipeline.generate({})
    pipeline.close()


def test_who_cancels_while_the_model_loads_does_not_wait_for_it(pipeline: Pipeline) -> None:
    cancelled, heard = threading.Event(), []

    def loading(state) -> None:
        heard.append(state.message)
        cancelled.set()

    with held(pipeline.client.engine):
        assert pipeline.generate({}, JobContext(on_loading=loading, cancelled=cancelled)) == []
    assert heard


def test_an_inpaint_model_serves_every_mode() -> None:
    """What it is shown beside the picture, where nobody painted a mask, is that all is new."""
    spec = ModelSpec(id="paints", source={"folder": tiny_folder(inpaint=True)}, width=64, height=64)
    pipeline = Pipeline(tiny_settings(ARTFLOW_MODEL__WARMUP="1"), Catalog(models=[*tiny_catalog().models, spec]))
    model = loaded(pipeline, "paints")
    assert model.inpaints
    (made,) = pipeline.generate({"model": "paints", "seed": 3, "steps": 2})
    mask = np.full((64, 64), 255, np.uint8)
    grey = np.full((64, 64, 3), 127, np.uint8)
    painted = {"model": "paints", "seed": 3, "steps": 2, "strength": 1.0, "feather": 0}
    (same,) = pipeline.inpaint(grey, mask, painted)
    assert np.abs(made.picture.astype(int) - same.picture).max() <= 1
    pictures: list = []
    session = pipeline.live.open("realtime", model, {"steps": 1}, lambda result: pictures.append(result.picture))
    session.submit(noisy(1))
    wait_until(lambda: pictures)
    assert pictures[0] is not None
    session.close()
    pipeline.close()


def test_settings_that_this_machine_cannot_compute_with_do_not_start() -> None:
    with pytest.raises(ArtflowError, match="float16") as caught:
        Pipeline(tiny_settings(ARTFLOW_MODEL__DTYPE="float16"), tiny_catalog())
    assert caught.value.code == "bad_dtype"


def test_idle_models_make_room_and_used_ones_stay(pipeline: Pipeline) -> None:
    tiny = loaded(pipeline)
    session = pipeline.live.open("canvas", tiny, {}, lambda result: None)
    loaded(pipeline, "other")
    loaded(pipeline, "third")
    assert set(pipeline.loaded) == {"tiny", "third"}
    second = pipeline.live.open("canvas", loaded(pipeline, "third"), {}, lambda result: None)
    with pytest.raises(ArtflowError, match="2 models are in use already"):
        loaded(pipeline, "other")
    second.close()
    wait_until(lambda: not pipeline.client.engine.uses(pipeline.client.pool.runner("third")))
    assert loaded(pipeline, "other")
    session.close()


def test_a_model_that_has_made_room_is_asked_for_in_vain(pipeline: Pipeline) -> None:
    first = loaded(pipeline)
    loaded(pipeline, "other")
    third = loaded(pipeline, "third")
    assert pipeline.loaded == ["tiny", "third"]
    pipeline.live.open("canvas", first, {}, lambda result: None)
    pipeline.live.open("canvas", third, {}, lambda result: None)
    with pytest.raises(ArtflowError, match="other has made room") as caught:
        pipeline.live.open("canvas", replace(first, id="other"), {}, lambda result: None)
    assert caught.value.code == "model_not_loaded"


def test_a_model_that_a_job_comes_back_to_stays() -> None:
    """Between two rounds of a job the engine has nothing of it."""
    pipeline = Pipeline(tiny_settings(ARTFLOW_MODEL__MAX_LOADED="1"), three_models())
    loaded(pipeline)
    busy = pytest.raises(ArtflowError, match="1 models are in use already")
    with pipeline.client.lease(pipeline.spec) as loading, busy:
        loaded(pipeline, "other")
    assert pipeline.load() is loading
    assert loaded(pipeline, "other")
    pipeline.close()


def test_with_room_for_one_model_the_last_idle_one_goes() -> None:
    pipeline = Pipeline(tiny_settings(ARTFLOW_MODEL__MAX_LOADED="1"), three_models())
    for model in ("tiny", "other", "third", "tiny"):
        loaded(pipeline, model)
        assert pipeline.loaded == [model]
    pipeline.close()


def test_garbage_collections_leave_out_a_model_until_it_is_evicted() -> None:
    """One over a model's objects stops every thread; an evicted one is gone before the next is read all the same."""
    pipeline = Pipeline(tiny_settings(ARTFLOW_MODEL__MAX_LOADED="1"), three_models())
    unet = pipeline.client.pool.runner(loaded(pipeline).id).model.unet
    assert all(thing is not unet for thing in gc.get_objects())
    old = weakref.ref(unet)
    del unet
    loaded(pipeline, "other")
    assert old() is None
    pipeline.close()
    assert gc.get_freeze_count() == 0


def test_sessions_are_limited_and_places_come_back() -> None:
    pipeline = Pipeline(tiny_settings(ARTFLOW_SERVER__MAX_QUEUE_SIZE="1"), tiny_catalog())
    model = loaded(pipeline)
    first = pipeline.live.open("realtime", model, {}, lambda result: None)
    with pytest.raises(ArtflowError, match="All 1 places are taken"):
        pipeline.live.open("canvas", model, {}, lambda result: None)
    first.close()
    pipeline.live.open("canvas", model, {}, lambda result: None)
    pipeline.close()


def test_defaults_come_from_mode_model_and_operator(pipeline: Pipeline) -> None:
    assert pipeline.parameters.live("canvas").steps == 2  # the model's
    assert pipeline.parameters.live("canvas").jpeg_quality == 95  # the operator's file
    assert pipeline.parameters.live("canvas").strength == 0.75  # the mode's
    operators = Pipeline(tiny_settings(ARTFLOW_CANVAS__GENERATION__STEPS="4"), tiny_catalog())
    assert operators.parameters.live("canvas").steps == 4


def test_coalescing_is_the_operators_choice() -> None:
    ordered, newest = (
        Pipeline(tiny_settings(ARTFLOW_CANVAS__COALESCE=value), tiny_catalog()).parameters.modes["canvas"].policy
        for value in ("false", "true")
    )
    assert (ordered.latest_only, newest.latest_only) == (False, True)
    assert not ordered.pipelined and not newest.pipelined


def test_settings_that_do_not_fit_the_catalog_stop_the_start() -> None:
    with pytest.raises(ArtflowError, match="`stepz` does not exist"):
        Pipeline(tiny_settings(ARTFLOW_REALTIME__GENERATION__STEPZ="4"), tiny_catalog())
    for name, value, words in [
        ("REALTIME__GENERATION", '{"width": 500}', "of `realtime`.*the nearest are 496 and 504"),
        ("CANVAS__GENERATION", '{"t_index_list": [40, 5]}', "of `canvas`.*rising whole numbers"),
        ("REALTIME__GENERATION", '{"filters": [{"filter": "nope"}]}', "of `realtime`.*no filter 'nope'"),
        ("TEXT__GENERATION", '{"sampler": "Foo"}', "of `text`.*no sampler 'Foo'"),
        ("TEXT__GENERATION", '{"model": "nope"}', "of `text`.*no model 'nope'"),
        ("TEXT__GENERATION", '{"hires_upscaler": "nope"}', "of `text`.*no upscaler 'nope'"),
        ("REALTIME__GENERATION", '{"width": 2048}', "of `realtime`.*from 16 to 1024"),
    ]:
        with pytest.raises(ArtflowError, match=words) as caught:
            Pipeline(tiny_settings(**{f"ARTFLOW_{name}": value}), tiny_catalog())
        assert caught.value.code == "bad_settings"
    spec = ModelSpec(id="tiny", source={"folder": tiny_folder()}, defaults=Defaults(canvas={"colour": 1}))
    with pytest.raises(ArtflowError, match="`colour` does not exist"):
        Pipeline(tiny_settings(), Catalog(models=[spec]))


@pytest.mark.parametrize("wanted", [False, True])
def test_prompts_are_in_the_log_only_where_the_operator_wants_them(wanted: bool, caplog) -> None:
    pipeline = Pipeline(tiny_settings(ARTFLOW_LOGGING__PROMPTS=str(wanted)), tiny_catalog())
    with caplog.at_level(logging.INFO, "artflow"):
        session = pipeline.live.open("canvas", loaded(pipeline), {}, lambda result: None)
        session.update(pipeline.parameters.changed(session.params, {"prompt": "a secret fox"}))
        session.submit(noisy(1))
        pipeline.generate({"prompt": "a secret fox", "seed": 1})
        pipeline.close()
    logged = [str(vars(record)) for record in caplog.records if record.name.startswith("artflow")]
    assert logged
    assert any("a secret fox" in line for line in logged) == wanted
    assert any(getattr(record, "job", None) for record in caplog.records)
    assert any(getattr(record, "session", None) == session.id for record in caplog.records)


def test_what_the_safety_check_refuses_is_not_shown(tmp_path: Path, pipeline: Pipeline) -> None:
    asked = {"prompt": "a fox", "seed": 3, "batch_count": 2}
    plainly = pipeline.generate(asked)
    folder = build_checker(tmp_path / "checker", plainly[0].picture)
    checked = Pipeline(
        tiny_settings(ARTFLOW_SAFETY__CHECK="true", ARTFLOW_SAFETY__MODEL_ID=str(folder)), three_models()
    )
    first, second = checked.generate(asked)
    assert not first.picture.any() and first.recipe["hidden"]
    assert second.picture.any() and "hidden" not in second.recipe
    checked.close()


@pytest.mark.parametrize("work", ["inpaint", "outpaint", "upscale"])
def test_a_work_that_comes_to_a_picture_which_must_not_be_shown_ends(tmp_path: Path, work: str) -> None:
    """Everything is refused: no cosine is below -1."""
    folder = build_checker(tmp_path / "checker", noisy(1), alike=-1.1)
    settings = tiny_settings(ARTFLOW_SAFETY__CHECK="true", ARTFLOW_SAFETY__MODEL_ID=str(folder))
    pipeline = Pipeline(settings, tiny_catalog())
    picture, mask = noisy(2), np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    works = {
        "inpaint": lambda: pipeline.inpaint(picture, mask, {"steps": 2}),
        "outpaint": lambda: pipeline.outpaint(picture, {"steps": 2, "right": 16}),
        "upscale": lambda: pipeline.upscale(picture, {"steps": 1, "strength": 0.5, "upscaler": "lanczos"}),
    }
    with pytest.raises(ArtflowError, match="safety check") as caught:
        works[work]()
    assert caught.value.code == "hidden"
    pipeline.close()


def test_without_the_safety_check_that_is_asked_for_nothing_is_made(tmp_path: Path) -> None:
    tmp_path.joinpath("empty").mkdir()
    settings = tiny_settings(ARTFLOW_SAFETY__CHECK="true", ARTFLOW_SAFETY__MODEL_ID=str(tmp_path / "empty"))
    pipeline = Pipeline(settings, tiny_catalog())
    with pytest.raises(ArtflowError, match="could not be loaded"):
        pipeline.generate({"prompt": "a fox"})
    pipeline.close()


def test_closing_ends_the_engine_and_forgets_the_models(pipeline: Pipeline) -> None:
    assert loaded(pipeline).native_size == Size(64, 64)
    pipeline.close()
    assert not pipeline.loaded
    assert pipeline.generate({"seed": 1})  # and whoever asks then begins anew


def test_the_operator_may_say_what_the_apps_model_predicts() -> None:
    """Checkpoints without markers; what a person says of a job or a live session goes first."""
    pipeline = Pipeline(tiny_settings(ARTFLOW_MODEL__PREDICTION_TYPE="v_prediction"), tiny_catalog())
    asked = {"prompt": "a fox", "seed": 3, "steps": 2}
    (velocity,), (said,), (noise,) = (
        pipeline.generate(asked | {"prediction_type": kind}) for kind in ("auto", "v_prediction", "epsilon")
    )
    assert (velocity.picture == said.picture).all() and (velocity.picture != noise.picture).any()
    assert pipeline.parameters.live("realtime").prediction_type == "auto"
    pipeline.close()


def test_sizes_that_cannot_be_are_refused_before_a_model_is_loaded_for_them(pipeline: Pipeline) -> None:
    thin, empty = np.zeros((4000, 1, 3), np.uint8), np.zeros((16, 16), np.uint8)
    refused = {
        "width 1366 is not allowed: from 16 to 1024": lambda: pipeline.generate({"width": 1366, "height": 768}),
        "width 1023 is not a multiple of 8: the nearest are 1016 and 1024": lambda: pipeline.generate(
            {"width": 1023, "height": 577}
        ),
        "`width` cannot be 1": lambda: pipeline.generate({"width": 1, "height": 4000}),
        "enlarged 4 times is": lambda: pipeline.generate({"width": 1024, "height": 64, "hires_scale": 4}),
        "3 times 1 x 4000 would be over": lambda: pipeline.upscale(
            thin, {"factor": 3, "upscaler": "a/b/c.safetensors"}
        ),
        "The mask is empty": lambda: pipeline.inpaint(np.zeros((16, 16, 3), np.uint8), empty, {}),
        "There is no sampler": lambda: pipeline.outpaint(thin, {"left": 8, "sampler": "none"}),
    }
    for sentence, work in refused.items():
        with pytest.raises(ArtflowError, match=re.escape(sentence)):
            work()
    assert not pipeline.loaded
