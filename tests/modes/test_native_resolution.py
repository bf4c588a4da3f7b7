"""Text pictures of any size from the model that ships, which draws well at its own size alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from artflow.engine import job
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, resized
from artflow.job_context import JobContext
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from tests.support.safety import checker_against

ROBOT = {"prompt": "a robot in space", "seed": 3, "steps": 2}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline(load_settings(environ={}))
    assert pipeline.spec.native_resolution_only
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def own(pipeline: Pipeline) -> Picture:
    """The robot as the model draws it."""
    (made,) = pipeline.generate(ROBOT)
    assert made.picture.shape == (128, 128, 3) and "drawn_at" not in made.recipe
    return made.picture


def distance(a: Picture, b: Picture) -> float:
    """The mean difference in grey levels."""
    return float(np.abs(a.astype(int) - b).mean())


@pytest.mark.parametrize("side", [64, 256, 320])
def test_a_larger_or_smaller_picture_is_the_same_one(pipeline: Pipeline, own: Picture, side: int) -> None:
    (made,) = pipeline.generate(ROBOT | {"width": side, "height": side})
    assert made.picture.shape == (side, side, 3)
    assert distance(resized(made.picture, Size(128, 128)), own) < 6
    assert (made.recipe["width"], made.recipe["height"], made.recipe["drawn_at"]) == (side, side, "128 x 128")
    assert made.recipe.get("hires_upscaler") == ("span" if side > 128 else None)


@pytest.mark.parametrize(("width", "height"), [(384, 256), (256, 384)])
def test_another_aspect_is_carried_on_beside_it(pipeline: Pipeline, own: Picture, width: int, height: int) -> None:
    (made,) = pipeline.generate(ROBOT | {"width": width, "height": height})
    assert made.picture.shape == (height, width, 3)
    left, top = (width - 256) // 2, (height - 256) // 2
    middle = made.picture[top : top + 256, left : left + 256]
    assert distance(resized(middle, Size(128, 128)), own) < 6
    edge = made.picture[:, :40] if width > height else made.picture[:40]
    assert edge.mean() < 60 and edge[..., 2].mean() > edge[..., 1].mean(), "space goes on"


def test_many_pictures_and_a_second_pass(pipeline: Pipeline) -> None:
    made = pipeline.generate(ROBOT | {"width": 192, "height": 192, "batch_count": 2, "hires_scale": 1.5})
    assert [m.picture.shape for m in made] == [(288, 288, 3)] * 2
    assert distance(made[0].picture, made[1].picture) > 3


def test_an_aspect_beyond_reach_is_refused_before_anything_is_drawn(pipeline: Pipeline) -> None:
    steps: list = []
    with pytest.raises(ArtflowError, match="aspect 8 is not allowed"):
        pipeline.generate(ROBOT | {"width": 512, "height": 64}, JobContext(steps.append))
    assert not steps


def test_cancel_while_it_is_carried_on(pipeline: Pipeline) -> None:
    cancelled, heard = threading.Event(), []

    def progress(p) -> None:
        heard.append((p.step, p.steps))
        if len(heard) > 2:  # the picture's own two steps are done
            cancelled.set()

    made = pipeline.generate(ROBOT | {"width": 384, "height": 256}, JobContext(progress, cancelled=cancelled))
    assert made == [] and len(heard) == 3


def test_all_pictures_are_drawn_and_carried_on_together(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "artflow"):
        made = pipeline.generate(ROBOT | {"width": 384, "height": 128, "batch_count": 3})
    jobs = [record.getMessage() for record in caplog.records if "a job of" in record.getMessage()]
    assert len(made) == 3 and jobs == ["a job of 3 pictures"] * 4, "drawn, and three passes of outpaint"
    (alone,) = pipeline.generate(ROBOT | {"width": 384, "height": 128, "seed": ROBOT["seed"] + 2})
    assert distance(alone.picture, made[2].picture) < 1


def test_cancel_keeps_the_pictures_that_are_done(pipeline: Pipeline) -> None:
    cancelled, enlarged = threading.Event(), []

    def progress(p) -> None:
        if p.doing.startswith("Enlarging") and p.step == 0:
            enlarged.append(p)
            if len(enlarged) == 3:
                cancelled.set()

    many = ROBOT | {"width": 256, "height": 256, "batch_count": 4}
    made = pipeline.generate(many, JobContext(progress, cancelled=cancelled))
    assert [m.picture.shape for m in made] == [(256, 256, 3)] * 2


def test_a_border_that_must_not_be_shown_hides_its_picture_alone(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the second picture is carried on with is refused, and not the picture itself."""
    monkeypatch.setattr(job, "PREVIEW_EVERY", 60.0)
    runner = pipeline.client.pool.runner(pipeline.load().info.result().id)
    decode, decoded = runner.decode, list[Picture]()

    def listening(latents):
        decoded.extend(pictures := decode(latents))
        return pictures

    monkeypatch.setattr(runner, "decode", listening)
    three = ROBOT | {"width": 192, "height": 128, "batch_count": 3}
    plainly = pipeline.generate(three)
    assert len(decoded) == 6, "three pictures, and one pass of outpaint for each"
    monkeypatch.setattr(runner, "_checker", checker_against(tmp_path / "checker", decoded[4]))
    made = pipeline.generate(three)
    assert [bool(m.recipe.get("hidden")) for m in made] == [False, True, False]
    assert not made[1].picture.any() and made[1].picture.shape == (128, 192, 3)
    assert distance(made[2].picture, plainly[2].picture) < 1


def test_an_upscaler_that_is_not_there_is_said_before_anything_is_drawn(pipeline: Pipeline) -> None:
    steps: list = []
    with pytest.raises(ArtflowError, match="nope"):
        pipeline.generate(ROBOT | {"width": 256, "height": 256, "hires_upscaler": "nope"}, JobContext(steps.append))
    assert not steps
