"""What a latency session gives up under load."""

from __future__ import annotations

from artflow.engine.quality import STAGES, QualityController

NAMES = [stage.name() for stage in STAGES]
WINDOW, TARGET, PATIENCE = 8, 0.4, 3


def walk(quality: QualityController, latency: float, windows: int) -> list[str]:
    """The stage after each of some windows of equal latencies."""
    stages = []
    for _ in range(windows):
        for _ in range(WINDOW):
            quality.observe(latency)
        stages.append(quality.stage.name())
    return stages


def test_slow_frames_go_down_stage_by_stage_and_no_further() -> None:
    assert walk(QualityController(TARGET), 1.0, 5) == [*NAMES[1:], NAMES[-1], NAMES[-1]]


def test_fast_frames_come_back_up_after_some_patience() -> None:
    quality = QualityController(TARGET)
    walk(quality, 1.0, 3)
    assert walk(quality, 0.01, 3 * PATIENCE) == [
        *[NAMES[3]] * 2, *[NAMES[2]] * 3, *[NAMES[1]] * 3, NAMES[0],
    ]  # fmt: skip


def test_neither_slow_nor_fast_stays_where_it_is() -> None:
    quality = QualityController(TARGET)
    walk(quality, 1.0, 1)
    assert set(walk(quality, TARGET / 2, 10)) == {NAMES[1]}


def test_one_slow_frame_is_no_load() -> None:
    quality = QualityController(TARGET)
    for i in range(100):
        quality.observe(5.0 if i % 8 == 0 else 0.01)
    assert quality.stage.name() == NAMES[0]


def test_each_stage_costs_less_than_the_one_before() -> None:
    costs = [stage.steps * stage.side**2 for stage in STAGES]
    assert costs == sorted(costs, reverse=True)
    assert len(set(costs)) == len(costs)
