"""Jobs: asked once, answered once, row by row beside live sessions."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from artflow.engine import job as job_module
from artflow.engine.engine import Engine
from artflow.engine.job_request import GeneratedImage, ImageFinished, JobEnded, JobEvent, JobProgress
from artflow.engine.runner import Runner
from artflow.engine.sampling import SAMPLERS
from artflow.errors import ArtflowError
from tests.support.jobs import text_job
from tests.support.live import DRAWING, STREAM, Person, difference, held, noisy


def test_progress_counts_pictures_and_steps(engine: Engine, runner: Runner) -> None:
    job = text_job(runner, steps=3, batch_count=2)
    engine.add(job)
    assert len(job.wait()) == 2
    assert [(p.picture, p.pictures, p.step, p.steps) for p in job.seen] == [
        (0, 2, 1, 3), (0, 2, 2, 3), (0, 2, 3, 3), (1, 2, 3, 3),
    ]  # fmt: skip
    assert np.array_equal(job.seen[2].preview, job.made[0].picture)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_step_has_a_preview_that_comes_nearer_to_the_picture(
    engine: Engine, runner: Runner, monkeypatch, sampler: str
) -> None:
    monkeypatch.setattr(job_module, "PREVIEW_EVERY", 0.0)
    job = text_job(runner, sampler=sampler)
    engine.add(job)
    job.wait()
    assert all(p.preview is not None and p.preview.shape == (64, 64, 3) for p in job.seen)
    far, near = (difference(job.seen[i].preview, job.made[0].picture) for i in (0, -2))
    assert 0 < near < far


def test_every_picture_of_a_batch_has_a_seed_of_its_own_that_makes_it_again(engine: Engine, runner: Runner) -> None:
    batch, single = text_job(runner, seed=40, batch_count=3), text_job(runner, seed=42)
    engine.add(batch)
    engine.add(single)
    made = batch.wait()
    assert [m.recipe["seed"] for m in made] == [40, 41, 42]
    assert difference(made[2].picture, single.wait()[0].picture) <= 1
    assert difference(made[0].picture, made[2].picture) > 10


def test_cancel_ends_at_the_next_step_and_keeps_what_is_made(runner: Runner) -> None:
    engine = Engine(max_rows=8)

    def cancel(progress: JobProgress) -> None:
        if (progress.picture, progress.step) == (8, 2):
            engine.cancel(job.id)

    job = text_job(runner, cancel, steps=4, batch_count=12)
    engine.add(job)
    made = job.wait()
    engine.close()
    assert len(made) == 8
    assert (job.seen[-1].picture, job.seen[-1].step) == (8, 2)
    assert job.over


def test_the_pictures_of_a_job_fill_the_calls(engine: Engine, runner: Runner) -> None:
    for prompt, negative in (("", False), ("", True)):
        runner.conditions.encode(prompt, negative=negative)
    job = text_job(runner, steps=3, batch_count=16)
    engine.add(job)
    assert len(job.wait()) == 16
    assert (engine.metrics.calls, engine.metrics.rows) == (3, 48)


def test_cancelled_before_it_begins_it_makes_nothing(engine: Engine, runner: Runner) -> None:
    job = text_job(runner)
    with held(engine):
        engine.add(job)
        engine.cancel(job.id)
    assert job.wait() == []
    assert engine.metrics.calls == 0


@pytest.mark.parametrize("sampler", ["Euler a", "LCM"])
def test_samplers_that_draw_noise_are_seeded_too(engine: Engine, runner: Runner, sampler: str) -> None:
    pictures = []
    for seed in (5, 5, 6):
        job = text_job(runner, sampler=sampler, seed=seed)
        engine.add(job)
        pictures.append(job.wait()[0].picture)
    assert difference(pictures[0], pictures[1]) == 0
    assert difference(pictures[0], pictures[2]) > 10


def test_jobs_run_beside_live_sessions_and_in_every_second_call_at_least(engine: Engine, runner: Runner) -> None:
    """Also where they cannot share a call, because the sizes differ."""
    late: list[int] = []

    class Watchful(Runner):
        def predict(self, rows):
            late.append(job.skipped_calls)
            return super().predict(rows)

    watchful = Watchful(runner.model)
    job = text_job(watchful, steps=6, width=96)
    person = Person(engine, watchful, STREAM, steps=1)
    with held(engine):
        person.send(*[noisy(i) for i in range(8)])
        engine.add(job)
    job.wait()
    assert max(late[:12]) == 1
    assert len(person.wait_for(5)) >= 5  # a call for the job, a call for the camera, in turn


def test_many_jobs_take_turns_and_leave_live_work_its_calls(engine: Engine, runner: Runner) -> None:
    """Jobs of different sizes cannot share a call: were all of them late at once, no frame would ever get one."""
    jobs = [text_job(runner, steps=4, batch_count=2, width=64 + 16 * (i % 4)) for i in range(8)]
    person = Person(engine, runner, DRAWING, steps=1)
    order: list[str] = []

    class Listening(Runner):
        def predict(self, rows):
            order.append("job" if rows[0].latent.shape[-1] != 8 or len(rows) > 1 else "live")
            return super().predict(rows)

    person.engine_session.runner = Listening(runner.model)
    for job in jobs:
        job.runner = person.engine_session.runner
    with held(engine):
        for job in jobs:
            engine.add(job)
        person.send(*[noisy(i) for i in range(10)])
    person.wait_for(10)
    assert engine.metrics.calls <= 2 * 10 + 1
    for job in jobs:
        assert len(job.wait()) == 2
    assert all(job.skipped_calls <= 1 for job in jobs)


def test_a_long_job_does_not_hold_up_one_of_another_size(runner: Runner) -> None:
    engine = Engine(max_rows=4)
    long, short = text_job(runner, steps=2, batch_count=16), text_job(runner, steps=2, width=96)
    with held(engine):
        engine.add(long)
        engine.add(short)
    short.wait()
    assert len(long.made) < 16
    assert len(long.wait()) == 16
    engine.close()


@pytest.mark.parametrize(
    "event",
    [
        JobProgress(0, 1, 2, 4, preview=noisy(1)),
        ImageFinished(1, GeneratedImage(noisy(1), {"seed": 3})),
        JobEnded(ArtflowError("hidden", "A picture is not shown.")),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_is_heard_of_a_job_can_travel(event: JobEvent) -> None:
    there = pickle.loads(pickle.dumps(event))
    assert str(there) == str(event)
    if isinstance(event, JobEnded):
        assert (there.error.code, there.error.message) == ("hidden", "A picture is not shown.")


def test_a_job_in_line_is_cancelled_by_its_id_and_no_other(engine: Engine, runner: Runner) -> None:
    first, second = text_job(runner, width=96, batch_count=2), text_job(runner)
    with held(engine):
        engine.add(first)
        engine.add(second)
        engine.cancel(second.id)
        engine.cancel("nobody")
    assert second.wait() == []
    assert len(first.wait()) == 2
