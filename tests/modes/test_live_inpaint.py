"""Live inpaint through the pipeline: what is see-through follows the prompt, and outside of it not a byte changes."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from artflow.engine.stream_policy import Result
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.pipeline import Pipeline
from tests.api.client import tiny_catalog, tiny_settings
from tests.support.live import PATIENCE

SIZES = [(64, 64), (90, 130), (131, 47), (16, 300), (1, 1), (200, 3)]


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    pipeline = Pipeline(tiny_settings(), tiny_catalog())
    yield pipeline
    pipeline.close()


class Painter:
    """Somebody at a live inpaint session."""

    def __init__(self, pipeline: Pipeline, **settings: Any) -> None:
        self._pipeline, self._results = pipeline, queue.Queue[Result]()
        model = pipeline.load().info.result(PATIENCE)
        self.session = pipeline.live.open("inpaint", model, {"seed": 1, **settings}, self._results.put)

    def paint(self, picture: np.ndarray) -> Result:
        self.session.submit(picture)
        return self._results.get(timeout=PATIENCE)

    def change(self, **settings: Any) -> Result:
        """What settings alone are answered with."""
        self.session.update(self._pipeline.parameters.changed(self.session.params, settings))
        assert self.session.repeat()
        return self._results.get(timeout=PATIENCE)


def scene(height: int = 90, width: int = 130) -> Picture:
    """Coarse random colours."""
    coarse = np.random.default_rng(1).integers(0, 256, (height // 10 + 1, width // 10 + 1, 3), np.uint8)
    return coarse.repeat(10, 0).repeat(10, 1)[:height, :width]


def box_in(height: int, width: int) -> tuple[slice, slice]:
    """The middle of a picture, a pixel of it at least."""
    return slice(height // 3, 2 * height // 3 + 1), slice(width // 3, 2 * width // 3 + 1)


def see_through(picture: Picture, box: tuple[slice, slice], alpha: int = 0) -> np.ndarray:
    opacity = np.full(picture.shape[:2], 255, np.uint8)
    opacity[box] = alpha
    return np.dstack([picture, opacity])


def grown(box: tuple[slice, slice], by: int) -> tuple[slice, slice]:
    rows, columns = (slice(max(side.start - by, 0), side.stop + by) for side in box)
    return rows, columns


@pytest.mark.parametrize(("only_masked", "edge", "reach"), [(True, "outwards", 3), (False, "inwards", 0)])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_outside_of_hole_and_feather_not_a_byte_changes_at_any_size(
    pipeline: Pipeline, height: int, width: int, only_masked: bool, edge: str, reach: int
) -> None:
    picture, box = scene(height, width), box_in(height, width)
    painter = Painter(pipeline, feather=3, mask_edge=edge, only_masked=only_masked, padding=4)
    result = painter.paint(see_through(picture, box))
    assert result.error is None and result.recipe is not None
    whole = result.whole()
    assert whole.shape == picture.shape and whole.dtype == np.uint8
    changed = (whole != picture).any(-1)
    outside = np.ones_like(changed)
    outside[grown(box, reach)] = False
    assert not changed[outside].any()
    assert changed[box].mean() > 0.5
    assert result.recipe["mode"] == "live-inpaint" and result.recipe["mask_edge"] == edge
    painter.session.close()


def test_the_hole_follows_the_prompt_without_the_picture_being_sent_again(pipeline: Pipeline) -> None:
    picture, box = scene(), box_in(90, 130)
    painter = Painter(pipeline, feather=0, prompt="a fox")
    first = painter.paint(see_through(picture, box)).whole()
    result = painter.change(prompt="a blue house")
    second = result.whole()
    changed = (first != second).any(-1)
    assert changed[box].mean() > 0.5
    changed[box] = False
    assert not changed.any()
    assert result.recipe is not None and result.recipe["prompt"] == "a blue house"


def test_feather_and_padding_act_on_the_picture_that_is_there(pipeline: Pipeline) -> None:
    picture, box = scene(), box_in(90, 130)
    painter = Painter(pipeline, feather=0, padding=0, only_masked=True)

    def reach(whole: Picture) -> int:
        return int((whole != picture).any(-1).sum())

    hard = reach(painter.paint(see_through(picture, box)).whole())
    assert reach(painter.change(feather=10, mask_edge="outwards").whole()) > hard
    narrow = painter.change(feather=0).whole()
    assert (painter.change(padding=30).whole() != narrow).any()


def test_a_hole_of_everything_makes_all_of_it_anew(pipeline: Pipeline) -> None:
    picture = scene()
    result = Painter(pipeline).paint(see_through(picture, (slice(None), slice(None))))
    assert (result.whole() != picture).any(-1).mean() > 0.9


def test_what_is_under_the_hole_counts_at_a_low_strength(pipeline: Pipeline) -> None:
    """Less than half opaque is the hole, and its colours are kept for the model."""
    box = (slice(20, 60), slice(30, 90))
    made = []
    for colour in (0, 255):
        picture = scene()
        picture[box] = colour
        made.append(Painter(pipeline, strength=0.1, steps=1).paint(see_through(picture, box, alpha=100)).whole())
    assert abs(made[0][box].astype(int) - made[1][box]).mean() > 20


def test_half_opaque_and_more_stays(pipeline: Pipeline) -> None:
    with pytest.raises(ArtflowError, match="The mask is empty"):
        Painter(pipeline).paint(see_through(scene(), box_in(90, 130), alpha=128))


def test_an_empty_hole_is_said_and_the_session_goes_on(pipeline: Pipeline) -> None:
    painter = Painter(pipeline)
    with pytest.raises(ArtflowError) as caught:
        painter.paint(see_through(scene(), (slice(0), slice(0))))
    assert caught.value.code == "empty_mask"
    assert painter.paint(see_through(scene(), box_in(90, 130))).picture is not None


def test_a_picture_that_is_too_large_to_follow_is_said(pipeline: Pipeline) -> None:
    with pytest.raises(ArtflowError, match="The picture is 1025 x 10; live it may have 1024 pixels a side") as caught:
        Painter(pipeline).paint(see_through(scene(10, 1025), box_in(10, 1025)))
    assert caught.value.code == "picture_too_large"


def test_settings_that_other_modes_do_not_have(pipeline: Pipeline) -> None:
    assert pipeline.parameters.live("inpaint").feather == 8  # type: ignore[attr-defined]
    with pytest.raises(ArtflowError, match="`feather` does not exist"):
        pipeline.parameters.changed(pipeline.parameters.live("canvas"), {"feather": 3})
    with pytest.raises(ArtflowError, match="`feather` cannot be -1"):
        pipeline.parameters.changed(pipeline.parameters.live("inpaint"), {"feather": -1})
