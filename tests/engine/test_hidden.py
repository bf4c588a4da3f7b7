"""Pictures that the safety check takes offence at: their person is told, and nobody sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artflow.engine import job as job_module
from artflow.engine.engine import Engine
from artflow.engine.runner import Runner
from artflow.images import Picture
from artflow.modes.text import TextParams, image_specs
from tests.support.jobs import Asked
from tests.support.live import DRAWING, STREAM, Person, noisy, plain
from tests.support.models import tiny_model
from tests.support.safety import checker_against


@pytest.fixture
def against(tmp_path: Path) -> Callable[..., Runner]:
    """A runner whose checker refuses some pictures."""
    return lambda *pictures: Runner(tiny_model(), checker=checker_against(tmp_path / "checker", *pictures))


def drawn(engine: Engine, runner: Runner, picture: Picture) -> Picture:
    """What the unchecked model makes of a picture."""
    made = Person(engine, runner, DRAWING).answer(picture).picture
    assert made is not None
    return made


def test_a_live_picture_is_hidden_and_the_session_goes_on(
    engine: Engine, runner: Runner, against: Callable[..., Runner]
) -> None:
    checked = against(drawn(engine, runner, noisy(1)))
    person, neighbour = (Person(engine, checked, DRAWING) for _ in range(2))
    hidden, beside, next_one = person.answer(noisy(1)), neighbour.answer(plain(20, 90, 200)), person.answer(noisy(2))
    assert hidden.picture is None and hidden.recipe is None
    assert hidden.error is not None and hidden.error.code == "hidden"
    assert beside.picture is not None and next_one.picture is not None


def test_a_stream_loses_nothing_but_the_hidden_picture(
    engine: Engine, runner: Runner, against: Callable[..., Runner]
) -> None:
    alone = Person(engine, runner, DRAWING, steps=3, strength=0.6)
    person = Person(engine, against(alone.answer(noisy(2)).picture), STREAM, steps=3, strength=0.6)
    person.send(*(noisy(seed) for seed in range(7)))
    results = person.wait_for(5)
    assert [(r.frame, r.picture is None) for r in results] == [(i, i == 2) for i in range(5)]


def test_of_several_pictures_only_the_hidden_one_is_black(
    engine: Engine, runner: Runner, against: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "PREVIEW_EVERY", 0.0)
    params = TextParams(width=64, height=64, steps=2, seed=5, guidance_scale=1.0, batch_count=3, sampler="Euler")

    def made_by(runner: Runner) -> Asked:
        job = Asked(runner, image_specs(params, runner.model.info, 1024))
        engine.add(job)
        job.wait()
        return job

    plainly = made_by(runner)
    checked = made_by(against(plainly.made[1].picture))
    assert [not one.picture.any() for one in checked.made] == [False, True, False]
    assert ["hidden" in one.recipe for one in checked.made] == [False, True, False]
    assert np.array_equal(checked.made[2].picture, plainly.made[2].picture)
    last = {p.picture: p.preview is not None for p in checked.seen if p.step == p.steps}
    assert last == {0: True, 1: False, 2: True}, "its preview is not shown either"
