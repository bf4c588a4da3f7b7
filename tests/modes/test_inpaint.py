"""Inpaint and outpaint through the pipeline: what may change, and what not a byte of may."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images import Picture, Size
from artflow.job_context import JobContext
from artflow.metadata import encode_png
from artflow.modes.inpaint import Inpainting, filled
from artflow.modes.outpaint import Borders, borders_for_ratio, strides
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from tests.support.models import tiny_folder

FAST = {"prompt": "a fox", "steps": 2, "sampler": "LCM", "seed": 3}


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """On a tiny model."""
    environment = {
        "ARTFLOW_MODEL__MODEL_ID": str(tiny_folder()),
        "ARTFLOW_MODEL__DTYPE": "float32",
        "ARTFLOW_MODEL__WARMUP": "0",
    }
    pipeline = Pipeline(load_settings(environ=environment))
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="module")
def shipped() -> Iterator[Pipeline]:
    """On the model that ships with the app."""
    pipeline = Pipeline(load_settings(environ={}))
    yield pipeline
    pipeline.close()


def scene(height: int = 90, width: int = 130) -> Picture:
    """Coarse random colours."""
    coarse = np.random.default_rng(1).integers(0, 256, (height // 10 + 1, width // 10 + 1, 3), np.uint8)
    return coarse.repeat(10, 0).repeat(10, 1)[:height, :width]


@pytest.mark.parametrize("fill", ["original", "blur", "noise", "empty"])
@pytest.mark.parametrize("only_masked", [False, True])
def test_outside_mask_and_feather_not_a_byte_changes(pipeline: Pipeline, fill: str, only_masked: bool) -> None:
    """Inwards, which is the default, not a byte outside of the mask itself."""
    picture, mask = scene(), np.zeros((90, 130), np.uint8)
    mask[30:50, 60:90] = 255
    changes = FAST | {"fill": fill, "only_masked": only_masked, "feather": 5, "padding": 8}
    for edge, reach in ({}, 0), ({"mask_edge": "centred"}, 2), ({"mask_edge": "outwards"}, 5):
        (made,) = pipeline.inpaint(picture, mask, changes | edge)
        changed = (made.picture != picture).any(-1)
        outside = np.ones_like(changed)
        outside[30 - reach : 50 + reach, 60 - reach : 90 + reach] = False
        assert not changed[outside].any()
        assert changed[30:50, 60:90].mean() > 0.5
    assert made.recipe["mode"] == "inpaint" and made.recipe["fill"] == fill


def test_strength_is_how_much_changes(shipped: Pipeline) -> None:
    """With a model of few steps too: 0 keeps all, and more changes more."""
    picture, mask = scene(128, 128), np.zeros((128, 128), np.uint8)
    mask[32:96, 32:96] = 255

    def change(strength: float) -> float:
        (made,) = shipped.inpaint(picture, mask, {"prompt": "a cat", "seed": 3, "strength": strength})
        return float(np.abs(made.picture.astype(int) - picture)[mask > 0].mean())

    changes = [change(strength) for strength in (0, 0.2, 0.5, 1)]
    assert changes[0] == 0
    large, part = scene(300, 200), np.zeros((300, 200), np.uint8)
    part[50:250, 50:150] = 255
    for only_masked in (False, True):  # the model would be shown it smaller
        (kept,) = shipped.inpaint(large, part, {"strength": 0, "only_masked": only_masked})
        assert (kept.picture == large).all()
    assert changes[1] < changes[2] < changes[3], changes


def test_the_fills_are_what_they_say() -> None:
    picture, mask = scene(), np.zeros((90, 130), np.uint8)
    mask[30:50, 60:90] = 255
    hole = mask > 0
    assert (filled(picture, mask, "original", 0) == picture).all()
    assert (filled(picture, mask, "empty", 0)[hole] == 127).all()
    assert filled(picture, mask, "noise", 0)[hole].std() > 60
    assert filled(picture, mask, "blur", 0)[hole].std() < picture.std()
    for fill in ("empty", "noise", "blur"):
        assert (filled(picture, mask, fill, 0)[~hole] == picture[~hole]).all()


def see_through() -> np.ndarray:
    """A picture that fades out to the left, with colours of its own where it is clear."""
    alpha = np.linspace(0, 255, 130).astype(np.uint8)[None].repeat(90, 0)
    return np.dstack([scene(), alpha])


def test_what_is_see_through_stays_so_outside_the_mask(pipeline: Pipeline) -> None:
    picture, mask = see_through(), np.zeros((90, 130), np.uint8)
    mask[30:50, 20:50] = 255
    (made,) = pipeline.inpaint(picture, mask, FAST | {"feather": 4, "mask_edge": "outwards"})
    assert made.picture.shape == (90, 130, 4)
    outside = np.ones((90, 130), bool)
    outside[26:54, 16:54] = False
    assert (made.picture[outside] == picture[outside]).all()
    assert (made.picture[30:50, 20:50, 3] == 255).all(), "what is painted is there to be seen"
    written = Image.open(io.BytesIO(encode_png(made.picture, made.recipe)))
    assert (np.array(written) == made.picture).all()


def test_see_through_pixels_are_not_whitened_in_the_feather(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is made lies on white; where it stays see-through, that white is taken out again."""
    monkeypatch.setattr(Inpainting, "composite", lambda work, made: work.original)  # the model changes nothing
    red = np.full((40, 40, 4), (255, 0, 0, 100), np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[15:25, 15:25] = 255
    (made,) = pipeline.inpaint(red, mask, FAST | {"feather": 8, "mask_edge": "outwards"})
    ring = (made.picture[..., 3] > 100) & (made.picture[..., 3] < 255)
    alpha = made.picture[ring][:, 3:] / 255
    on_white = made.picture[ring][:, :3] * alpha + 255 * (1 - alpha)
    assert ring.any() and np.abs(on_white - (255, 155, 155)).max() <= 2


def test_a_mask_of_one_pixel_and_a_picture_of_one(pipeline: Pipeline) -> None:
    mask = np.zeros((90, 130), np.uint8)
    mask[0, 129] = 255
    (made,) = pipeline.inpaint(scene(), mask, FAST | {"feather": 0})
    assert (made.picture != scene()).any(-1).sum() <= 1
    (made,) = pipeline.inpaint(scene(1, 1), np.full((1, 1), 255, np.uint8), FAST)
    assert made.picture.shape == (1, 1, 3)


def test_a_full_mask_makes_all_of_it_anew(pipeline: Pipeline) -> None:
    picture = scene()
    (made,) = pipeline.inpaint(picture, np.full((90, 130), 255, np.uint8), FAST)
    assert (made.picture != picture).any(-1).mean() > 0.9


def test_nothing_painted_is_said(pipeline: Pipeline) -> None:
    with pytest.raises(ArtflowError, match="The mask is empty"):
        pipeline.inpaint(scene(), np.zeros((90, 130), np.uint8), FAST)


def test_outpaint_keeps_the_picture_inside(pipeline: Pipeline) -> None:
    picture = scene()
    (made,) = pipeline.outpaint(picture, FAST | {"left": 20, "down": 30, "right": 10})
    assert made.picture.shape == (120, 160, 3)
    assert (made.picture[:90, 20:150] == picture).all()


def test_outpaint_keeps_what_is_see_through(pipeline: Pipeline) -> None:
    picture = see_through()
    (made,) = pipeline.outpaint(picture, FAST | {"left": 20, "up": 10})
    assert (made.picture[10:, 20:] == picture).all()
    assert (made.picture[:10, :, 3] == 255).all() and (made.picture[:, :20, 3] == 255).all()


def test_no_seam_shows_where_a_picture_is_carried_on(shipped: Pipeline) -> None:
    """Across the old border the picture steps no more than it typically does inside, in every direction."""
    y, x = np.mgrid[:120, :160]
    picture = np.dstack([120 + x / 2 + 8 * np.sin(y / 3), 190 - y / 2, 90 + 10 * np.sin(x / 5)]).astype(np.uint8)
    asked = {"prompt": "a blue sky", "seed": 3, "left": 40, "right": 40, "up": 40, "down": 40}
    (made,) = shipped.outpaint(picture, asked)
    across = np.abs(np.diff(made.picture.astype(float), axis=1)).mean(-1)[40:160]
    down = np.abs(np.diff(made.picture.astype(float), axis=0)).mean(-1)[:, 40:200]
    typical = np.percentile(np.concatenate([across[:, 40:199].ravel(), down[40:159].ravel()]), 90)
    for seam in (across[:, 39], across[:, 199], down[39], down[159]):
        assert np.median(seam) <= typical + 0.5  # rounding to whole grey levels


def test_a_random_seed_is_one_for_all_passes_and_makes_the_picture_again(pipeline: Pipeline) -> None:
    asked = FAST | {"left": 150, "seed": -1}
    (made,) = pipeline.outpaint(scene(), asked)
    assert (made.recipe["width"], made.recipe["height"]) == (280, 90)
    (again,) = pipeline.outpaint(scene(), asked | {"seed": made.recipe["seed"]})
    assert (made.picture == again.picture).all()


def test_outpaint_in_percent(pipeline: Pipeline) -> None:
    (made,) = pipeline.outpaint(scene(), FAST | {"left": 10, "down": 50, "unit": "percent"})
    assert made.picture.shape == (135, 143, 3)


def test_outpaint_of_a_single_pixel(pipeline: Pipeline) -> None:
    (made,) = pipeline.outpaint(scene(1, 1), FAST | {"right": 3})
    assert made.picture.shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Nothing is to be added"),
        ({"left": -5}, "`left` cannot be -5"),
        ({"left": 4096, "right": 4096, "up": 4096, "down": 4096}, "at most 68000000 pixels"),
    ],
)
def test_bad_borders_are_said(pipeline: Pipeline, changes: dict[str, int], sentence: str) -> None:
    with pytest.raises(ArtflowError, match=re.escape(sentence)):
        pipeline.outpaint(scene(), FAST | changes)


def test_strides_add_up_and_never_outgrow_the_context() -> None:
    passes = list(strides(Size(100, 80), Borders(left=300, down=90)))
    assert tuple(map(sum, zip(*passes, strict=True))) == (300, 0, 0, 90)
    width, height = 100, 80
    for step in passes:
        assert step.left + step.right <= width / 2 and step.up + step.down <= height / 2
        width, height = width + step.left + step.right, height + step.up + step.down


def test_borders_for_an_aspect() -> None:
    assert borders_for_ratio(Size(100, 100), 2.0, "centre") == (50, 0, 50, 0)
    assert borders_for_ratio(Size(100, 100), 2.0, "left") == (0, 0, 100, 0)
    assert borders_for_ratio(Size(100, 50), 1.0, "right") == (0, 50, 0, 0)
    with pytest.raises(ArtflowError, match="from 0\\.25"):
        borders_for_ratio(Size(100, 50), 9.0, "centre")
    with pytest.raises(ArtflowError, match="would add 4133 pixels on one side; at most 4096") as caught:
        borders_for_ratio(Size(3000, 1200), 9 / 16, "left")
    assert caught.value.code == "picture_too_large"


def test_cancel_stops_before_the_next_step(pipeline: Pipeline) -> None:
    cancelled = threading.Event()
    steps: list[int] = []

    def progress(progress: object) -> None:
        steps.append(progress.step)  # type: ignore[attr-defined]
        cancelled.set()

    made = pipeline.outpaint(scene(), FAST | {"left": 200, "steps": 8}, JobContext(progress, cancelled=cancelled))
    assert made == [] and steps == [1]
