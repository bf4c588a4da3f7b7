"""Hires fix: a picture that is enlarged and goes through the model again."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from artflow.engine.job_request import JobProgress
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.metadata import a1111, read_metadata
from artflow.pipeline import Pipeline
from artflow.settings import load_settings

ASKED = {"prompt": "a strawberry on a green background", "seed": 5}
HIRES = ASKED | {"hires_scale": 2.0, "hires_denoise": 0.3, "hires_steps": 1}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """On the model that ships with the app."""
    pipeline = Pipeline(load_settings(environ={}))
    yield pipeline
    pipeline.close()


def distance(first: Picture, second: Picture) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def as_a1111_writes(recipe: dict) -> bytes:
    """A PNG whose only metadata is the text of the A1111 web UI."""
    out, info = io.BytesIO(), PngInfo()
    info.add_text("parameters", a1111.text(recipe))
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def test_the_second_pass_is_larger_and_shows_the_same(pipeline: Pipeline) -> None:
    (first,), (larger,) = pipeline.generate(ASKED), pipeline.generate(HIRES)
    assert larger.picture.shape == (256, 256, 3)
    plain = cv2.resize(first.picture, (256, 256), interpolation=cv2.INTER_CUBIC)
    assert 0.5 < distance(larger.picture, plain) < 30
    changed_more = pipeline.generate(HIRES | {"hires_denoise": 0.9})[0].picture
    assert distance(changed_more, plain) > distance(larger.picture, plain)


def test_the_same_seed_gives_the_same_picture(pipeline: Pipeline) -> None:
    first, second = (pipeline.generate(HIRES)[0].picture.astype(int) for _ in range(2))
    assert abs(first - second).max() <= 2, "as many CPU threads as are free add up in another order"


@pytest.mark.parametrize(("scale", "side"), [(1.5, 192), (3.0, 384)])
def test_any_scale_on_whole_latents(pipeline: Pipeline, scale: float, side: int) -> None:
    (made,) = pipeline.generate(HIRES | {"hires_scale": scale, "hires_upscaler": "lanczos"})
    assert made.picture.shape == (side, side, 3)


def test_the_recipe_says_how_and_is_read_back(pipeline: Pipeline) -> None:
    (plain,), (larger,) = pipeline.generate(ASKED), pipeline.generate(HIRES)
    assert "hires_scale" not in plain.recipe
    wanted = {"hires_scale": 2.0, "hires_upscaler": "span", "hires_steps": 1, "hires_denoise": 0.3}
    assert wanted.items() <= larger.recipe.items()
    assert larger.recipe["width"] == 128, "the size to ask for again is that of the first pass"
    found = read_metadata(as_a1111_writes(larger.recipe))
    assert wanted.items() <= found.values.items()


def test_what_people_wait_for_has_a_name(pipeline: Pipeline) -> None:
    heard: list[JobProgress] = []
    pipeline.generate(HIRES | {"batch_count": 2}, JobContext(heard.append))
    names = list(dict.fromkeys(p.doing for p in heard))
    assert names == [
        "Step", "Enlarging, tile", "Picture 1, second pass, step", "Picture 2, second pass, step",
    ]  # fmt: skip


def test_cancelled_in_the_second_pass_keeps_what_the_first_made(pipeline: Pipeline) -> None:
    cancelled = threading.Event()

    def progress(progress: JobProgress) -> None:
        if progress.doing.startswith("Picture 2"):
            cancelled.set()

    asked = HIRES | {"batch_count": 2, "hires_steps": 4}
    made = pipeline.generate(asked, JobContext(progress, cancelled=cancelled))
    assert [m.picture.shape[0] for m in made] == [256, 128]
    assert ["hires_scale" in m.recipe for m in made] == [True, False]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hires_scale": 4, "width": 1024}, "1024 x 128 enlarged 4 times is 4096 x 512; 2048 pixels a side"),
        ({"hires_scale": 0.5}, "`hires_scale` cannot be 0.5"),
        ({"hires_upscaler": "../evil"}, "There is no upscaler '../evil'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_drawn(pipeline: Pipeline, changes: dict, sentence: str) -> None:
    heard: list[JobProgress] = []
    with pytest.raises(ArtflowError, match=sentence):
        pipeline.generate(HIRES | changes, JobContext(heard.append))
    assert not heard


def test_the_second_pass_of_all_pictures_is_one_job(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "artflow"):
        assert len(pipeline.generate(HIRES | {"batch_count": 3})) == 3
    jobs = [record.getMessage() for record in caplog.records if "a job of" in record.getMessage()]
    assert jobs == ["a job of 3 pictures"] * 2
