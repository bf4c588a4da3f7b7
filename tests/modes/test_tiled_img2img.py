"""Diffusion upscale: an enlarged picture that goes through the model again, in tiles."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from artflow.engine.job_request import JobProgress
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.modes import tiled_img2img
from artflow.modes.tiled_img2img import tiling_for
from artflow.modes.tiles import seams
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from tests.api.client import tiny_catalog, tiny_settings

REDRAWN = {"factor": 2, "strength": 0.3, "steps": 3, "seed": 4}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """On the model that ships with the app."""
    pipeline = Pipeline(load_settings(environ={}))
    yield pipeline
    pipeline.close()


def shades(height: int = 150, width: int = 200) -> Picture:
    """Soft colours in which every seam would show."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([90 + 100 * x / width, 200 - 90 * y / height, 120 + 40 * np.sin(x / 60)]).astype(np.uint8)


def distance(first: Picture, second: Picture) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def test_without_strength_no_model_is_loaded() -> None:
    pipeline = Pipeline(tiny_settings(), tiny_catalog())
    (made,) = pipeline.upscale(shades(), {"factor": 2})
    assert made.picture.shape == (300, 400, 3) and not pipeline.loaded
    pipeline.close()


def test_no_seam_shows_between_redrawn_tiles(pipeline: Pipeline) -> None:
    """Across the middle of each blend the picture steps no more than elsewhere."""
    picture = shades()
    (plain,), (made,) = pipeline.upscale(picture, {"factor": 2}), pipeline.upscale(picture, REDRAWN)
    assert made.picture.shape == plain.picture.shape
    assert distance(made.picture, plain.picture) > 0.5, "the model has drawn something"
    tiling = tiling_for(pipeline.load().info.result())
    for axis, length in ((0, 300), (1, 400)):
        steps = np.abs(np.diff(made.picture.astype(float), axis=axis)).mean(axis=(1 - axis, 2))
        places = list(seams(tiling, length, 1))
        assert places
        blended = np.concatenate([steps[place] for place in places])
        assert blended.max() < np.percentile(steps, 95) + 1


def test_sizes_that_are_no_whole_latents(pipeline: Pipeline) -> None:
    (made,) = pipeline.upscale(shades(33, 71), REDRAWN | {"factor": 3})
    assert made.picture.shape == (99, 213, 3)
    assert made.recipe["mode"] == "upscale" and made.recipe["seed"] == 4


def test_cancel_stops_within_a_step(pipeline: Pipeline) -> None:
    cancelled = threading.Event()
    heard: list[str] = []

    def progress(progress: JobProgress) -> None:
        heard.append(progress.doing)
        if progress.doing.startswith("Tile 2 of"):
            cancelled.set()

    assert pipeline.upscale(shades(), REDRAWN | {"steps": 4}, JobContext(progress, cancelled=cancelled)) == []
    assert heard[-1].startswith("Tile 2 of") and heard.count(heard[-1]) == 1


def test_tiles_are_asked_for_together_in_bands(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def jobs() -> list[str]:
        found = [record.getMessage() for record in caplog.records if "a job of" in record.getMessage()]
        caplog.clear()
        return found

    with caplog.at_level(logging.INFO, "artflow"):
        (at_once,) = pipeline.upscale(shades(), REDRAWN)
        assert jobs() == ["a job of 20 pictures"]
        monkeypatch.setattr(tiled_img2img, "BAND", 8 * 128**2)
        (in_bands,) = pipeline.upscale(shades(), REDRAWN)
        assert jobs() == ["a job of 8 pictures", "a job of 8 pictures", "a job of 4 pictures"]
    assert (at_once.picture == in_bands.picture).all()
