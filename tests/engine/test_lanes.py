"""Rows that cost more than live pictures can wait for run beside them, and nothing of it is mixed up."""

from __future__ import annotations

import threading

import pytest

from artflow.engine.engine import Engine
from artflow.engine.lane import Lane
from artflow.engine.runner import Runner
from artflow.errors import ArtflowError
from tests.support.colour_family import ColourModel
from tests.support.jobs import text_job
from tests.support.live import DRAWING, PATIENCE, STREAM, Person, difference, noisy, wait_until

LARGE = {"width": 512, "height": 512}  # 16,384 latents of a quarter of the size: a third of a second, it is assumed


class Gated(ColourModel):
    """Large rows wait until they are let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.reached = threading.Event(), threading.Event()

    def predict(self, latents, timesteps, inputs):
        if latents.shape[-1] == 128:
            self.reached.set()
            assert self.gate.wait(PATIENCE)
        return super().predict(latents, timesteps, inputs)


def test_live_pictures_go_on_while_a_large_row_computes(engine: Engine) -> None:
    model = Gated()
    runner = Runner(model)
    person = Person(engine, runner, DRAWING, prompt="red", steps=1)
    job = text_job(runner, prompt="blue", steps=2, sampler="DDIM", **LARGE)
    engine.add(job)
    assert model.reached.wait(PATIENCE)
    assert all(person.answer(noisy(i)).picture is not None for i in range(5))
    assert not job.made
    model.gate.set()
    assert job.wait()[0].picture.shape == (512, 512, 3)


def test_a_large_job_makes_what_it_makes_alone(engine: Engine, runner: Runner) -> None:
    def picture(beside: bool):
        job = text_job(runner, steps=2, width=1024, height=512, seed=5)
        person = Person(engine, runner, STREAM, steps=1)
        engine.add(job)
        if beside:
            person.send(*[noisy(i) for i in range(20)])
            person.wait_for(20)
        made = job.wait()[0].picture
        person.session.close()
        return made

    assert difference(picture(beside=True), picture(beside=False)) <= 1


def test_a_large_job_is_cancelled_between_two_of_its_calls(engine: Engine) -> None:
    model = Gated()
    job = text_job(Runner(model), prompt="blue", steps=50, sampler="DDIM", **LARGE)
    engine.add(job)
    assert model.reached.wait(PATIENCE)
    engine.cancel(job.id)
    model.gate.set()
    assert job.wait() == []
    assert len(model.calls) <= 2


def test_the_lane_ends_when_nothing_large_is_left(engine: Engine) -> None:
    model = Gated()
    model.gate.set()
    job = text_job(Runner(model), prompt="blue", steps=1, sampler="DDIM", **LARGE)
    engine.add(job)
    job.wait()
    lanes = [thread for thread in threading.enumerate() if "large" in thread.name]
    wait_until(lambda: not any(thread.is_alive() for thread in lanes), "the lane to end")


def test_closing_ends_a_large_job_too() -> None:
    engine, model = Engine(), Gated()
    job = text_job(Runner(model), prompt="blue", steps=3, sampler="DDIM", **LARGE)
    engine.add(job)
    assert model.reached.wait(PATIENCE)
    closing = threading.Thread(target=engine.close)
    closing.start()
    model.gate.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    with pytest.raises(ArtflowError, match="shutting down"):
        job.wait()


def test_the_thread_ends_when_there_is_nothing_to_do_and_another_can_begin(monkeypatch) -> None:
    monkeypatch.setattr("artflow.engine.lane.IDLE", 0.0)
    worked, ended = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> bool:
        assert threading.current_thread().name == "engine, large rows"
        worked.release()
        raise ValueError("an error of a round ends nothing")

    lane = Lane("cpu", work, lambda: 1, ended.release)
    for _ in range(2):
        lane.start(after=None)
        assert worked.acquire(timeout=PATIENCE) and ended.acquire(timeout=PATIENCE)
    lane.close()
    lane.start(after=None)
    assert not worked.acquire(timeout=0.1)
