"""Inpaint and outpaint of photos in wide colours: what stays keeps its bytes and their meaning, what is new fits in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from artflow.images import Picture, from_srgb, to_srgb
from artflow.modes.inpaint import InpaintParams, plan_inpaint
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.jobs import saved
from tests.corpus.pictures import ADOBE, P3
from tests.modes.test_inpaint import FAST, scene
from tests.support.models import tiny_folder


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """On a tiny model."""
    environment = {"ARTFLOW_MODEL__MODEL_ID": str(tiny_folder()), "ARTFLOW_MODEL__DTYPE": "float32"}
    pipeline = Pipeline(load_settings(environ=environment | {"ARTFLOW_MODEL__WARMUP": "0"}))
    yield pipeline
    pipeline.close()


def a_mask() -> np.ndarray:
    mask = np.zeros((90, 130), np.uint8)
    mask[30:50, 60:90] = 255
    return mask


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("profile", [P3, ADOBE])
def test_what_is_not_painted_over_keeps_its_bytes_and_its_profile(
    pipeline: Pipeline, profile: bytes, alpha: bool
) -> None:
    picture, mask = scene(), a_mask()
    if alpha:
        picture = np.dstack([picture, np.linspace(0, 255, 130).astype(np.uint8)[None].repeat(90, 0)])
    (made,) = pipeline.inpaint(picture, mask, FAST | {"feather": 5}, profile=profile)
    changed = (made.picture != picture).any(-1)
    assert changed[30:50, 60:90].mean() > 0.5
    changed[25:55, 55:95] = False
    assert not changed.any()
    with saved([made]) as paths, Image.open(paths[0]) as file:
        assert file.info["icc_profile"] == profile
        assert np.array_equal(np.asarray(file), made.picture)


def test_what_is_added_around_a_photo_has_its_profile_and_the_photo_its_bytes(pipeline: Pipeline) -> None:
    picture = scene()
    (made,) = pipeline.outpaint(picture, FAST | {"left": 20, "down": 30}, profile=P3)
    assert made.profile == P3 and made.picture.shape == (120, 150, 3)
    assert np.array_equal(made.picture[:90, 20:], picture)


def test_the_model_sees_srgb_and_its_colours_are_converted_back(pipeline: Pipeline) -> None:
    """A phone's orange is shown to the model as that orange, and a green of the model's comes back as that green."""
    orange, green = (200, 100, 50), (40, 160, 60)
    picture = np.full((90, 130, 3), orange, np.uint8)
    work = plan_inpaint(picture, a_mask(), InpaintParams(feather=0), pipeline.load().info.result(), profile=P3)
    assert np.abs(work.shown.reshape(-1, 3).astype(int) - (215, 93, 31)).max() <= 1
    meant: Picture = np.full((*work.shown.shape[:2], 3), green, np.uint8)
    there = from_srgb(meant, P3)
    assert np.abs(there[0, 0].astype(int) - green).max() > 5, "the numbers are others"
    assert np.abs(to_srgb(there, P3)[0, 0].astype(int) - green).max() <= 1, "and the colour is the same"


def test_strength_0_keeps_colours_that_srgb_does_not_have(pipeline: Pipeline) -> None:
    red = np.full((90, 130, 3), (255, 0, 0), np.uint8)
    (made,) = pipeline.inpaint(red, a_mask(), FAST | {"strength": 0, "fill": "original"}, profile=P3)
    assert np.array_equal(made.picture, red)
