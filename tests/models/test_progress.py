"""One number for a whole load."""

from __future__ import annotations

from artflow.models.progress import ProgressReporter


def listener() -> tuple[list[tuple[str, float | None]], ProgressReporter]:
    heard: list[tuple[str, float | None]] = []
    return heard, ProgressReporter(lambda message, fraction: heard.append((message, fraction)))


def test_a_part_takes_the_whole_from_its_start_to_its_end():
    heard, progress = listener()
    part = progress.part(0.5, 0.75)
    part.say("half of it", 0.5)
    part.say("no idea")
    part.part(0.5, 1.0).say("all of its half", 1.0)
    assert heard == [("half of it", 0.625), ("no idea", None), ("all of its half", 0.75)]


def test_it_never_goes_back_nor_beyond_one():
    heard, progress = listener()
    progress.say("a", 0.6)
    progress.part(0.0, 0.5).say("a step that began before", 0.2)
    progress.say("more bytes than announced", 1.3)
    assert [f for _, f in heard] == [0.6, 0.6, 1.0]
