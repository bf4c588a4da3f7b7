"""A family that is no UNet is run by scheduler, engine, sessions and jobs as they are."""

from __future__ import annotations

import numpy as np
import pytest

from artflow.engine.engine import Engine
from artflow.engine.runner import Runner
from tests.support.colour_family import COLOURS, ColourModel
from tests.support.jobs import text_job
from tests.support.live import DRAWING, STREAM, Person, held, noisy


@pytest.fixture
def colours() -> Runner:
    runner = Runner(ColourModel())
    for prompt in ("", *COLOURS, "red, framed"):
        runner.conditions.encode(prompt)
    runner.conditions.encode("", negative=True)
    return runner


def centre(picture: np.ndarray) -> tuple[int, ...]:
    return tuple(picture[32, 32].tolist())


def test_people_and_jobs_share_its_calls_and_get_their_own(engine: Engine, colours: Runner) -> None:
    people = {
        "red": Person(engine, colours, STREAM, prompt="red", steps=1),
        "green": Person(engine, colours, DRAWING, prompt="green", steps=1, strength=1.0),
    }
    job = text_job(colours, prompt="blue", steps=1, sampler="DDIM")
    with held(engine):
        for person in people.values():
            person.send(noisy(1))
        engine.add(job)
    for name, person in people.items():
        assert centre(person.wait_for(1)[0].picture) == pytest.approx(COLOURS[name], abs=1)
    assert centre(job.wait()[0].picture) == pytest.approx(COLOURS["blue"], abs=1)
    assert colours.model.calls == [3]


def test_rows_with_another_input_get_a_call_of_their_own(engine: Engine, colours: Runner) -> None:
    plain, framed = (Person(engine, colours, STREAM, prompt=prompt, steps=1) for prompt in ("red", "red, framed"))
    with held(engine):
        plain.send(noisy(1))
        framed.send(noisy(1))
    without, bordered = plain.wait_for(1)[0].picture, framed.wait_for(1)[0].picture
    assert centre(without) == centre(bordered) == pytest.approx(COLOURS["red"], abs=1)
    assert bordered[0].min() == 255 and without[0].max() < 255
    assert colours.model.calls == [1, 1]


def test_a_crossfade_goes_from_one_to_the_other(engine: Engine, colours: Runner) -> None:
    person = Person(engine, colours, DRAWING, prompt="red", steps=1, transition=0.2)
    person.answer(noisy(1))
    person.change(prompt="green")
    shades = [centre(person.answer(noisy(1)).picture)[1] for _ in range(200)]
    assert shades[-1] == pytest.approx(COLOURS["green"][1], abs=1)
    assert any(40 < shade < 180 for shade in shades)
    assert shades == sorted(shades)
