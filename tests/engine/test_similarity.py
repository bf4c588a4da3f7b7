"""The similar-image filter: which frames are worth a model call."""

from __future__ import annotations

import numpy as np
import pytest

from artflow.engine.similarity import SimilarityFilter, similarity, thumbnail
from artflow.images import Picture
from tests.support.live import noisy

SCENE = noisy(1)


def lit(factor: float, offset: float = 0) -> Picture:
    """The scene in other light."""
    return np.clip(SCENE * float(factor) + offset, 0, 255).astype(np.uint8)


def decisions(filter_: SimilarityFilter, *frames: Picture) -> list[bool]:
    return [filter_.passes(frame) for frame in frames]


def test_a_still_scene_saves_nine_calls_in_ten() -> None:
    passed = decisions(SimilarityFilter(0.98, 10), *[SCENE] * 110)
    assert sum(passed) == 10


@pytest.mark.parametrize("threshold", [0.0, 0.98])
def test_what_is_forgotten_is_a_change_at_any_threshold(threshold: float) -> None:
    filter_ = SimilarityFilter(threshold, 10, depth=3)
    decisions(filter_, *[SCENE] * 5)
    filter_.forget()
    assert decisions(filter_, *[SCENE] * 4) == [True, True, True, False]


@pytest.mark.parametrize("most", [0, 1, 3, 10])
def test_exactly_so_many_frames_are_skipped_in_a_row(most: int) -> None:
    passed = decisions(SimilarityFilter(0.98, most), *[SCENE] * (3 * most + 3))
    assert passed == ([True] + [False] * most) * 3


def test_a_frame_that_passes_for_its_own_sake_starts_the_count_again() -> None:
    filter_ = SimilarityFilter(0.98, 5)
    other = noisy(2)
    assert decisions(filter_, SCENE, SCENE, SCENE, other) == [True, False, False, True]
    assert decisions(filter_, *[other] * 6) == [False] * 5 + [True]


@pytest.mark.parametrize("frame", [lit(1, 40), lit(1, -40), lit(0.5), lit(0.6, 50), lit(0, 127)])
def test_brightness_and_contrast_are_changes(frame: Picture) -> None:
    assert decisions(SimilarityFilter(0.98, 10), SCENE, frame) == [True, True]


def test_similarity_is_one_for_equals_and_falls_with_brightness_contrast_and_structure() -> None:
    scene = thumbnail(SCENE)
    assert similarity(scene, scene) == pytest.approx(1)
    for other in (lit(1, -60), lit(0.4, 80), noisy(3)):
        assert similarity(scene, thumbnail(other)) < 0.95


def test_in_between_it_decides_by_chance_and_the_seed_decides_the_chance() -> None:
    close = SCENE.copy()
    close[:4, :4] = 255 - close[:4, :4]
    assert 0.9 < similarity(thumbnail(SCENE), thumbnail(close)) < 0.9999
    frames = [SCENE, close] * 50
    first, again, other = (decisions(SimilarityFilter(0.5, 1000, seed), *frames) for seed in (1, 1, 2))
    assert first == again != other
    assert 1 < sum(first) < 100


def test_a_threshold_of_one_skips_nothing() -> None:
    assert all(decisions(SimilarityFilter(1.0, 10), *[SCENE] * 5))


def test_after_forgetting_the_next_frame_passes() -> None:
    filter_ = SimilarityFilter(0.98, 10)
    assert decisions(filter_, SCENE, SCENE) == [True, False]
    filter_.forget()
    assert decisions(filter_, SCENE, SCENE) == [True, False]


def test_a_pipelined_stream_gets_the_frames_that_push_a_change_out() -> None:
    """With four steps in flight a change is seen when three more frames have followed it."""
    filter_ = SimilarityFilter(0.98, 10, depth=4)
    assert decisions(filter_, *[SCENE] * 6) == [True] * 4 + [False] * 2
    other = noisy(2)
    assert decisions(filter_, *[other] * 6) == [True] * 4 + [False] * 2
    # A pass that only ends a long row of skips is no change.
    assert decisions(filter_, *[other] * 19).count(True) == 1


def test_frames_that_were_replaced_push_nothing() -> None:
    """A busy engine takes the newest frame only: the change still gets all that it takes to be seen."""
    filter_ = SimilarityFilter(0.98, 10, depth=4)
    assert decisions(filter_, *[SCENE] * 3) == [True] * 3
    filter_.replaced(2)
    assert decisions(filter_, *[SCENE] * 4) == [True] * 3 + [False]
    filter_.replaced(100)
    assert decisions(filter_, *[SCENE] * 5).count(True) <= 4
