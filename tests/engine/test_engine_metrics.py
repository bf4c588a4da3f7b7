"""What the engine counts, and when it says that its device is lost."""

from __future__ import annotations

import pytest

from artflow.engine.engine import Engine
from artflow.engine.engine_metrics import WINDOW, EngineMetrics
from artflow.engine.runner import Runner
from tests.support.colour_family import ColourModel
from tests.support.jobs import text_job
from tests.support.live import DRAWING, Person, held, noisy


def test_rows_are_counted_by_who_asked_for_them(engine: Engine, runner: Runner) -> None:
    Person(engine, runner, DRAWING, steps=2).answer(noisy(1))
    job = text_job(runner, steps=3, guidance_scale=2.0)
    engine.add(job)
    job.wait()
    counted = engine.metrics.snapshot()
    assert (counted["rows"], counted["rows_live"], counted["rows_job"]) == (8, 2, 6)
    assert counted["model_calls"] == 5
    assert counted["call_seconds"] > 0 and counted["longest_step_seconds"] > 0


def test_the_longest_step_is_that_of_the_last_minute(monkeypatch) -> None:
    metrics, now = EngineMetrics(), 0.0
    monkeypatch.setattr("artflow.engine.engine_metrics.time.monotonic", lambda: now)
    for at, seconds, longest in ((0, 0.5, 0.5), (10, 0.1, 0.5), (20, 0.2, 0.5), (WINDOW + 1, 0.01, 0.2)):
        now = at
        metrics.stepped(seconds)
        assert metrics.snapshot()["longest_step_seconds"] == longest


def test_what_waits_is_counted_by_kind(engine: Engine, runner: Runner) -> None:
    person, job = Person(engine, runner, DRAWING), text_job(runner, batch_count=3)
    with held(engine):
        person.send(noisy(1), noisy(2))
        engine.add(job)
        assert engine.waiting == {"live": 2, "job": 3}
    job.wait()
    person.wait_for(2)
    assert engine.waiting == {"live": 0, "job": 0}


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("shape mismatch"), False),
    ],
    ids=["device lost", "other error"],
)
def test_an_engine_whose_device_is_lost_is_not_alive(engine: Engine, error: Exception, lost: bool) -> None:
    class Failing(ColourModel):
        def predict(self, latents, timesteps, inputs):
            raise error

    person = Person(engine, Runner(Failing()), DRAWING)
    assert person.answer(noisy(1)).error.code == "engine_error"
    assert engine.alive is not lost
