"""Remove, and inpaint and outpaint without a prompt: the network for photos fills what is painted over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from artflow.engine.job_request import JobProgress
from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size
from artflow.job_context import JobContext
from artflow.models import migan
from artflow.modes.masks import Bounds, Mask, grown
from artflow.modes.remove import SIDE, Filling, RemoveParams, filled, make, mirrored, parts_of, window_around
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from tests.corpus.pictures import ADOBE

PHOTO = data.coffee()[:300, :420]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """On the model that ships with the app."""
    pipeline = Pipeline(load_settings(environ={}))
    yield pipeline
    pipeline.close()


def spot(height: int = 300, width: int = 420) -> Mask:
    """A mask with one spot."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 3, height // 2), 20, 255, -1)
    return mask


# -- parts and windows --------------------------------------------------------------------------------------------


def holed(height: int, width: int, *lines: tuple[int, int, int, int], thick: int = 9) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in lines:
        cv2.line(mask, (x0, y0), (x1, y1), 255, thick)
    return mask > 0


@pytest.mark.parametrize(
    ("hole", "count"),
    [
        (holed(300, 420, (30, 30, 380, 200)), 1),  # one window shows the whole picture
        (holed(1000, 2000, (100, 100, 120, 100), (200, 100, 220, 100)), 1),  # near each other
        (holed(1000, 2000, (100, 100, 120, 100), (1800, 900, 1820, 900)), 2),
        (holed(1000, 2000, (0, 500, 1999, 500)), 8),  # a power line, in pieces at its own size
        (holed(1000, 2000, (400, 500, 900, 500), thick=400), 1),  # a thick part is one, made smaller
    ],
)
def test_a_hole_is_filled_in_parts_that_cover_it(hole: NDArray[np.bool_], count: int) -> None:
    parts = parts_of(hole)
    assert len(parts) == count
    rest = hole.copy()
    for part in parts:
        assert part.cut(hole).any()
        part.cut(rest)[:] = False
    assert not rest.any()


@pytest.mark.parametrize(
    ("part", "size", "window"),
    [
        (Bounds(900, 500, 1000, 560), Size(2000, 1000), Bounds(694, 274, 1206, 786)),  # in its middle, at its own size
        (Bounds(0, 0, 100, 60), Size(2000, 1000), Bounds(0, 0, 512, 512)),  # no further than the picture
        (Bounds(200, 200, 1000, 500), Size(2000, 1000), Bounds(0, -100, 1200, 1100)),  # with a quarter around it
        (Bounds(10, 10, 20, 20), Size(100, 60), Bounds(0, -20, 100, 80)),  # a small picture is shown larger
    ],
)
def test_a_window_shows_what_is_around_a_part(part: Bounds, size: Size, window: Bounds) -> None:
    assert window_around(part, size) == window


def test_beyond_the_edge_a_window_is_a_mirror() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert mirrored(picture, Bounds(1, 0, 3, 2)).tolist() == [[1, 2], [5, 6]]
    expected = np.pad(picture, ((4, 5), (6, 2)), mode="reflect")
    assert (mirrored(picture, Bounds(-6, -4, 6, 8)) == expected).all()
    assert mirrored(picture[:1, :1], Bounds(-1, -1, 2, 2)).tolist() == [[0] * 3] * 3


# -- removing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("edge", "reach"), [("outwards", 6), ("centred", 3), ("inwards", 0)])
def test_outside_of_mask_and_feather_not_a_byte_changes(edge: str, reach: int) -> None:
    mask = spot()
    (made,) = make(PHOTO, mask, RemoveParams.model_validate({"feather": 6, "mask_edge": edge}), Filling())
    changed = (made.picture != PHOTO).any(-1)
    assert not changed[grown(mask, reach) == 0].any()
    assert changed[mask > 0].mean() > 0.5
    assert made.recipe == {
        "mode": "inpaint", "model": "migan", "prompt": "", "feather": 6, "mask_edge": edge, "width": 420, "height": 300,
    }  # fmt: skip


def test_what_is_painted_over_leaves_no_trace() -> None:
    """Whatever it was: black and white give the same picture, up to the edge of the mask."""
    mask = spot()
    first, second = (
        make(np.where(mask[..., None] > 0, np.uint8(shade), PHOTO), mask, RemoveParams(), Filling())[0].picture
        for shade in (0, 255)
    )
    assert (first == second).all()


def test_the_background_goes_on() -> None:
    """A disc on a gradient is gone: nothing is further from the gradient than its own colours are apart."""
    across = np.linspace(60, 190, 420).astype(np.uint8)
    plain = np.repeat(np.repeat(across[None], 300, 0)[..., None], 3, 2)
    mask = spot()
    (made,) = make(np.where(mask[..., None] > 0, np.uint8(255), plain), mask, RemoveParams(), Filling())
    assert np.abs(made.picture.astype(int) - plain)[mask > 0].mean() < 8


def test_a_large_photo_keeps_its_size_and_a_tiny_one_works() -> None:
    large = cv2.resize(data.astronaut(), (1500, 1100))
    mask = np.zeros((1100, 1500), np.uint8)
    cv2.line(mask, (0, 300), (1499, 350), 255, 7)
    (made,) = make(large, mask, RemoveParams(), Filling())
    assert made.picture.shape == large.shape
    assert not (made.picture != large).any(-1)[grown(mask, 8) == 0].any()
    tiny = PHOTO[:3, :5]
    dot = np.zeros((3, 5), np.uint8)
    dot[1, 2] = 255
    assert make(tiny, dot, RemoveParams(feather=0), Filling())[0].picture.shape == (3, 5, 3)


def test_alpha_stays_and_what_is_filled_is_to_be_seen() -> None:
    alpha = np.linspace(0, 255, 420).astype(np.uint8)[None].repeat(300, 0)
    picture, mask = np.dstack([PHOTO, alpha]), spot()
    (made,) = make(picture, mask, RemoveParams(feather=4), Filling())
    outside = grown(mask, 4) == 0
    assert (made.picture[outside] == picture[outside]).all()
    assert (made.picture[mask > 0, 3] == 255).all()


def test_colours_are_converted_for_the_network_and_back_again() -> None:
    (plain,) = make(PHOTO, spot(), RemoveParams(), Filling())
    profile = ADOBE
    (made,) = make(PHOTO, spot(), RemoveParams(), Filling(), profile)
    assert made.profile == profile
    assert (made.picture[spot() == 0] == plain.picture[spot() == 0]).mean() > 0.95
    assert np.abs(made.picture.astype(int) - plain.picture)[spot() > 0].mean() > 0.5  # the network saw other colours


def test_what_cannot_be_is_one_sentence() -> None:
    everything = np.full((300, 420), 255, np.uint8)
    with pytest.raises(ArtflowError, match="covers the whole picture"):
        make(PHOTO, everything, RemoveParams(), Filling())
    with pytest.raises(ArtflowError, match="empty"):
        make(PHOTO, everything * 0, RemoveParams(), Filling())
    with pytest.raises(ArtflowError, match="one size"):
        make(PHOTO, everything[1:], RemoveParams(), Filling())


def test_parts_that_see_nothing_of_each_other_share_a_call() -> None:
    calls: list[int] = []

    def errand(work: object, pictures: NDArray[np.uint8], holes: NDArray[np.bool_], device: str) -> NDArray[np.uint8]:
        assert work is migan.fill and pictures.shape[1:] == (SIDE, SIDE, 3) and holes.any((1, 2)).all()
        calls.append(len(pictures))
        return np.full_like(pictures, 7)

    picture = np.zeros((600, 2600, 3), np.uint8)
    hole = np.zeros((600, 2600), np.uint8)
    for x in (100, 900, 1700, 2500):
        hole[290:310, x : x + 20] = 255
    made = filled(picture, hole, Filling("cpu", errand))
    assert calls == [4] and (made[hole > 0] == 7).all() and not made[hole == 0].any()


def test_progress_counts_parts_and_cancel_ends_before_the_next() -> None:
    seen: list[JobProgress] = []
    stop = threading.Event()

    def heard(progress: JobProgress) -> None:
        seen.append(progress)
        if progress.step > 0:
            stop.set()

    large, hole = np.zeros((600, 2000, 3), np.uint8), np.zeros((600, 2000), np.uint8)
    hole[300:305] = 255
    with pytest.raises(Cancelled):
        filled(large, hole, Filling(errand=lambda w, p, h, d: p, context=JobContext(heard, cancelled=stop)))
    assert [(one.step, one.steps) for one in seen][:1] == [(0, 8)] and seen[-1].step <= 4


# -- through the pipeline -----------------------------------------------------------------------------------------


def test_inpaint_without_a_prompt_removes_where_the_small_model_draws(pipeline: Pipeline) -> None:
    mask = spot()
    (made,) = pipeline.inpaint(PHOTO, mask, {"prompt": " ", "feather": 3, "mask_edge": "centred"})
    (removed,) = pipeline.remove(PHOTO, mask, {"feather": 3, "mask_edge": "centred"})
    assert made.recipe == removed.recipe and made.recipe["model"] == "migan"
    assert (made.picture == removed.picture).all()
    (drawn,) = pipeline.inpaint(PHOTO, mask, {"prompt": "a cat", "steps": 1})
    assert drawn.recipe["model"] == "pocket"


def test_a_cancelled_one_gives_no_picture(pipeline: Pipeline) -> None:
    stop = threading.Event()
    stop.set()
    assert pipeline.remove(PHOTO, spot(), {}, JobContext(cancelled=stop)) == []


@pytest.mark.parametrize("sides", [{"right": 60}, {"left": 40, "down": 50}, {"up": 100, "unit": "percent"}])
def test_outpaint_without_a_prompt_keeps_the_picture(pipeline: Pipeline, sides: dict[str, int | str]) -> None:
    (made,) = pipeline.outpaint(PHOTO, {"prompt": ""} | sides)
    percent = 3 if sides.get("unit") else 1  # of 300 rows
    left, up = int(sides.get("left", 0)), int(sides.get("up", 0)) * percent
    assert made.recipe["model"] == "migan" and made.recipe["mode"] == "outpaint"
    assert (made.picture[up : up + 300, left : left + 420] == PHOTO).all()
    assert (made.recipe["width"], made.recipe["height"]) == made.picture.shape[1::-1]


def sky() -> Picture:
    """Some of the evening sky over a rocket."""
    return np.ascontiguousarray(data.rocket()[:130, 130:300])


def test_a_sky_keeps_its_brightness_over_five_times_its_width(pipeline: Pipeline) -> None:
    (made,) = pipeline.outpaint(sky(), {"right": 500, "unit": "percent"})
    strips = [made.picture[:, 170 * i : 170 * (i + 1)].mean() for i in range(6)]
    assert max(abs(a - b) for a, b in pairwise(strips)) < 6, strips


def test_beside_a_black_border_it_does_not_go_on_in_black(pipeline: Pipeline) -> None:
    """The picture reaches its border: what is added is as bright as what is beside it."""
    (made,) = pipeline.outpaint(PHOTO, {"right": 100, "up": 60})
    beside, added = PHOTO[:, -100:].mean(), made.picture[60:, 420:].mean()
    assert added > 0.7 * beside
    assert (made.picture[:, 420:].max(-1) < 16).mean() < 0.1 + (PHOTO[:, -100:].max(-1) < 16).mean()
