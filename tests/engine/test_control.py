"""Live people with and without control on one engine, and jobs that are steered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from artflow.engine.control_unit import ControlPicture, ControlUnit
from artflow.engine.engine import Engine
from artflow.engine.image_spec import ImageSpec
from artflow.engine.runner import Runner
from artflow.engine.stream_policy import StreamPolicy
from artflow.images import Size
from artflow.modes.control_maps import control_pictures
from tests.parity.test_control import runner_of
from tests.support.control import lines, load, tiny_controls  # noqa: F401 - a fixture
from tests.support.jobs import Asked
from tests.support.live import Person, difference, noisy, wait_until

DRAWING = StreamPolicy("canvas", pipelined=False, latest_only=False, maps=control_pictures)
CAMERA = StreamPolicy("realtime", pipelined=True, latest_only=True, maps=control_pictures)
CANNY = {"kind": "canny", "preprocess": "none"}


@pytest.fixture
def runner(tiny_controls: None) -> Runner:  # noqa: F811
    return runner_of()


def test_a_drawing_is_steered_and_its_neighbour_is_not(engine: Engine, runner: Runner) -> None:
    steered, plain = Person(engine, runner, DRAWING, steps=2), Person(engine, runner, DRAWING, steps=2)
    before = plain.answer(noisy(1)).picture
    assert before is not None
    steered.change(control=[CANNY])
    first = steered.answer(noisy(1))  # waits for the network
    assert first.picture is not None and first.recipe is not None
    assert difference(first.picture, before) > 8
    assert first.recipe["control"] == [ControlUnit(**CANNY).model_dump()]
    again = plain.answer(noisy(1))
    assert again.picture is not None and again.recipe is not None
    assert difference(again.picture, before) <= 1
    assert "control" not in again.recipe
    steered.change(control=[])
    last = steered.answer(noisy(1)).picture
    assert last is not None and difference(last, before) <= 1


def test_weight_start_and_end_act_from_the_next_picture_on(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, steps=2)
    plain = person.answer(noisy(1)).picture
    made = []
    for changes in ({}, {"weight": 0.3}, {"end": 0.5}, {"start": 0.9}):
        person.change(control=[CANNY | changes])
        made.append(person.answer(noisy(1)).picture)
    assert plain is not None and all(picture is not None for picture in made)
    assert all(difference(made[0], other) > 2 for other in made[1:])  # type: ignore[arg-type]
    assert difference(made[3], plain) <= 1  # type: ignore[arg-type] - of two steps none is wholly after 0.9


def test_a_camera_goes_on_until_its_network_is_there(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, CAMERA, steps=2, control=[CANNY])

    def steered() -> Any:
        person.send(noisy(1))
        return any(result.recipe and "control" in result.recipe for result in list(person.results))

    wait_until(steered, "a steered picture")
    assert not person.errors


def test_a_network_that_cannot_be_had_is_said(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING, steps=1, control=[{"kind": "depth", "preprocess": "none"}])
    result = person.answer(noisy(1))
    assert result.error is not None and "ControlNet for Tiny XL" in result.error.message
    person.change(control=[])
    assert person.answer(noisy(1)).picture is not None


def test_a_job_waits_for_its_network_and_modes_count_as_they_say(engine: Engine, runner: Runner) -> None:
    def made(mode: str | None) -> np.ndarray:
        controls = () if mode is None else (ControlPicture(ControlUnit(kind="canny", mode=mode), lines(100)),)
        spec = ImageSpec({}, Size(64, 64), 1, "a fox", "", 3, 3.0, "Euler", controls=controls)
        job = Asked(runner, [spec])
        engine.add(job)
        return job.wait()[0].picture

    pictures = [made(mode) for mode in (None, "balanced", "prompt", "control")]
    assert all(difference(a, b) > 1 for i, a in enumerate(pictures) for b in pictures[:i])


def test_the_unconditional_row_has_no_control_where_that_counts_more(runner: Runner) -> None:
    load(runner, "canny")
    unit = ControlUnit(kind="canny", mode="control", start=0.5)
    steps = runner.controls.at_steps([ControlPicture(unit, lines())], 2)
    assert steps[0] == () and len(steps[1]) == 1
    assert steps[1][0].soft and not steps[1][0].negative
