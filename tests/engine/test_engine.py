"""The engine: rows of many people share calls, and what goes wrong stays with who caused it."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from artflow.engine.engine import Engine
from artflow.engine.params import LiveParams
from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.engine.session import LiveSession
from artflow.engine.stream import LiveStream
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models.model import Condition
from tests.support.jobs import text_job
from tests.support.live import (
    DRAWING,
    PATIENCE,
    STREAM,
    Person,
    difference,
    held,
    noisy,
    plain,
    settle,
    wait_until,
)

FRAMES = [noisy(i) for i in range(8)]
WHITE = plain(255, 255, 255)


# -- sharing ------------------------------------------------------------------------------------------------------


def test_rows_of_different_people_share_a_call(engine: Engine, runner: Runner) -> None:
    """Different prompts, seeds, steps, guidance and strengths; webcam, canvas and text."""
    people = [
        Person(engine, runner, STREAM, prompt="a", seed=1, steps=1),
        Person(engine, runner, STREAM, prompt="b", seed=2, steps=1, cfg_type="full", guidance_scale=2.0),
        Person(engine, runner, DRAWING, prompt="c", seed=3, steps=1, strength=0.9),
        Person(engine, runner, DRAWING, prompt="d", seed=4, steps=1, cfg_type="initialize", guidance_scale=1.5),
    ]
    job = text_job(runner, steps=1, guidance_scale=3.0)
    for prompt in ("", *"abcd"):  # else their rows come when their prompts are encoded
        runner.conditions.encode(prompt)
    runner.conditions.encode("", negative=True)
    with held(engine):
        for person in people:
            person.send(FRAMES[0])
        engine.add(job)
    for person in people:
        person.wait_for(1)
    job.wait()
    assert (engine.metrics.calls, engine.metrics.rows) == (1, 1 + 2 + 1 + 2 + 2)


def test_what_cannot_share_a_call_gets_one_of_its_own(engine: Engine, runner: Runner) -> None:
    people = [Person(engine, runner, STREAM, steps=1), Person(engine, runner, STREAM, steps=1, width=96)]
    with held(engine):
        for person in people:
            person.send(FRAMES[0])
    for person in people:
        person.wait_for(1)
    assert (engine.metrics.calls, engine.metrics.rows) == (2, 2)


def test_a_call_has_no_more_rows_than_allowed_and_everybody_gets_a_turn(runner: Runner) -> None:
    engine = Engine(max_rows=4)
    people = [Person(engine, runner, STREAM, steps=1, seed=i) for i in range(10)]
    with held(engine):
        for person in people:
            person.send(*FRAMES[:2])
    for person in people:
        person.wait_for(2)
    engine.close()
    assert (engine.metrics.calls, engine.metrics.rows) == (5, 20)


def test_one_copy_of_the_weights_serves_everybody(engine: Engine, runner: Runner) -> None:
    def weights() -> int:
        return sum(type(thing) is torch.nn.Parameter for thing in gc.get_objects())

    before = weights()
    people = [Person(engine, runner, STREAM, steps=2, seed=i) for i in range(16)]
    for person in people:
        person.send(*FRAMES[:3])
    for person in people:
        person.wait_for(2)
    assert weights() == before


# -- errors -------------------------------------------------------------------------------------------------------


class Fussy(Runner):
    """A runner that one person's rows are too much for: white pictures, or the prompt ``poison``."""

    fails_in = ""

    def encode(self, pictures: Sequence[Picture]) -> torch.Tensor:
        if self.fails_in == "encode" and any(picture.min() == 255 for picture in pictures):
            raise RuntimeError("out of memory")
        return super().encode(pictures)

    def predict(self, rows: Sequence[Row]) -> torch.Tensor:
        poison = self.conditions.encode("poison")["text"]
        poisoned = [row.inputs["text"].equal(poison) for row in rows]
        if self.fails_in == "predict" and any(poisoned):
            raise RuntimeError("out of memory")
        return super().predict(rows) * torch.tensor([1e9 if bad else 1.0 for bad in poisoned]).view(-1, 1, 1, 1)

    def decode(self, latents: torch.Tensor) -> list[Picture]:
        if self.fails_in == "decode" and latents.abs().max() > 1e6:
            raise RuntimeError("out of memory")
        return super().decode(latents)


@pytest.mark.parametrize("where", ["encode", "predict", "decode"])
@pytest.mark.parametrize("policy", [STREAM, DRAWING], ids=["camera", "drawing"])
def test_an_error_belongs_to_the_row_that_caused_it(engine: Engine, runner: Runner, where: str, policy) -> None:
    fussy = Fussy(runner.model)
    fussy.fails_in = where
    good = [Person(engine, fussy, policy, prompt=f"fine {i}", steps=2) for i in range(3)]
    bad = Person(engine, fussy, policy, prompt="fine" if where == "encode" else "poison", steps=2)
    job = text_job(fussy)
    with held(engine):
        for person in (*good, bad):
            person.send(*([WHITE] * 3 if person is bad and where == "encode" else FRAMES[:3]))
        engine.add(job)
    for person in good:
        results = person.wait_for(3)
        alone = Person(engine, runner, policy, prompt=person.session.params.prompt, steps=2)
        alone.send(*FRAMES[:3])
        for ours, theirs in zip(results, alone.wait_for(3), strict=True):
            assert difference(ours.picture, theirs.picture) <= 1
    assert len(job.wait()) == 1
    wait_until(lambda: len(bad.errors) >= 2)
    assert set(bad.errors) == {"engine_error"}
    said = bad.results[0].error.message
    assert "RuntimeError" in said and "out of memory" not in said, "its own words are for the log"
    assert not bad.pictures

    fussy.fails_in = ""  # and the session goes on
    bad.send(*FRAMES[:4])
    wait_until(lambda: bad.pictures)


def test_an_error_on_the_way_into_the_call_is_its_owners_alone(
    engine: Engine, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (Person(engine, runner, DRAWING, prompt=prompt, steps=2) for prompt in ("fine", "poison"))

    def enter(*args: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(bad.engine_session, "enter", enter)
    with held(engine):
        good.send(FRAMES[0])
        bad.send(FRAMES[0])
    assert good.wait_for(1)[0].picture is not None
    assert bad.wait_for(1)[0].error.code == "engine_error"


def test_a_job_that_is_cancelled_is_let_go_at_once(engine: Engine, runner: Runner) -> None:
    """With nothing else to do the engine sleeps, and what it holds stays with it."""
    job = text_job(runner, lambda progress: engine.cancel(job.id), steps=9)
    engine.add(job)
    assert job.wait() == []
    wait_until(lambda: not engine.uses(runner) and not engine.active_jobs)


def test_settings_that_cannot_be_prepared_cost_every_frame_in_flight(
    engine: Engine, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them holds a place, so each of them is answered."""
    person = Person(engine, runner, STREAM, steps=4)
    person.send(*FRAMES[:3])
    settle(engine)
    prepare = runner.model.prepare

    def fussy(conditions: Sequence[Condition]) -> Any:
        if any(condition.prompt == "too much" for condition in conditions):
            raise RuntimeError("out of memory")
        return prepare(conditions)

    monkeypatch.setattr(runner.model, "prepare", fussy)
    person.change(prompt="too much")
    person.send(FRAMES[3])
    assert sorted(result.frame for result in person.wait_for(4)) == [0, 1, 2, 3]
    assert person.errors == ["engine_error"] * 4


def test_a_cap_of_hardly_any_frames_holds_up_nobody_else(engine: Engine, runner: Runner) -> None:
    slow = Person(engine, runner, STREAM, steps=1, max_fps=0.01)
    slow.send(*FRAMES[:3])
    slow.wait_for(2)
    assert Person(engine, runner, STREAM, steps=1).answer(FRAMES[0]).picture is not None
    assert engine.alive


@pytest.mark.parametrize("fps", [1e-300, 5e-324, -1.0, float("nan"), 1e9])
def test_a_cap_that_no_clock_can_keep_is_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="max_fps"):
        LiveParams(max_fps=fps)


def test_an_error_in_a_job_is_raised_to_who_asked(engine: Engine, runner: Runner) -> None:
    fussy = Fussy(runner.model)
    fussy.fails_in = "predict"
    person = Person(engine, fussy, STREAM, steps=1)
    job = text_job(fussy, prompt="poison")
    with held(engine):
        engine.add(job)
        person.send(FRAMES[0])
    with pytest.raises(ArtflowError, match="RuntimeError"):
        job.wait()
    assert person.wait_for(1)[0].picture is not None
    wait_until(lambda: engine.jobs == 0)


def test_settings_that_cannot_be_prepared_cost_a_frame_and_nothing_else(engine: Engine, runner: Runner) -> None:
    class Mute(Runner):
        def inputs(self, prepared, size, guidance=1.0):
            if size.width == 96:
                raise RuntimeError("no such size")
            return super().inputs(prepared, size, guidance)

    mute = Mute(runner.model)
    good, bad = Person(engine, mute, STREAM, steps=1), Person(engine, mute, STREAM, steps=1, width=96)
    for _ in range(2):
        bad.send(FRAMES[0])
        good.send(FRAMES[0])
    assert bad.wait_for(2) and bad.errors == ["engine_error"] * 2
    assert len(good.wait_for(2)) == 2 and not good.errors


def test_a_listener_that_raises_harms_nobody(engine: Engine, runner: Runner) -> None:
    """Listeners belong to connections, which end at any moment."""

    def gone(result: Any) -> None:
        raise ConnectionError("nobody is there")

    params = LiveParams(width=64, height=64, steps=1)
    broken = LiveStream(runner.model.info, params, DRAWING, gone)
    engine.add(LiveSession.of(broken, runner))
    person = Person(engine, runner, DRAWING, steps=1)
    for frame in FRAMES[:3]:
        with held(engine):
            broken.submit(frame)
            person.send(frame)
    assert all(result.picture is not None for result in person.wait_for(3))


def test_a_job_whose_listener_raises_fails_alone(engine: Engine, runner: Runner) -> None:
    def gone(progress: Any) -> None:
        raise ConnectionError("nobody is there")

    broken = text_job(runner, gone, steps=3)
    person, other = Person(engine, runner, STREAM, steps=1), text_job(runner)
    with held(engine):
        engine.add(broken)
        engine.add(other)
        person.send(*FRAMES[:3])
    with pytest.raises(ArtflowError, match="ConnectionError"):
        broken.wait()
    assert len(other.wait()) == 1
    assert len([r for r in person.wait_for(3) if r.picture is not None]) == 3


def test_the_thread_survives_an_error_in_its_own_round(engine: Engine, runner: Runner) -> None:
    class Rotten(LiveSession):
        rotten = True

        @property
        def due(self) -> float:
            if self.rotten:
                raise RuntimeError("a bug")
            return super().due

    stream = LiveStream(runner.model.info, LiveParams(width=64, height=64), DRAWING, lambda result: None)
    session = Rotten.of(stream, runner)
    engine.add(session)
    settle(engine)
    session.close()
    person = Person(engine, runner, DRAWING)
    assert person.answer(FRAMES[0]).picture is not None


# -- tasks, end ---------------------------------------------------------------------------------------------------


def test_tasks_run_on_the_engines_thread_and_their_errors_are_the_callers(engine: Engine) -> None:
    assert engine.run_on_engine_thread(lambda: threading.current_thread().name).result(PATIENCE) == "engine"
    with pytest.raises(ZeroDivisionError):
        engine.run_on_engine_thread(lambda: 1 / 0).result(PATIENCE)
    assert engine.run_on_engine_thread(lambda: "still here").result(PATIENCE) == "still here"


def test_an_idle_engine_does_nothing(engine: Engine, runner: Runner) -> None:
    Person(engine, runner)
    settle(engine)
    assert (engine.metrics.calls, engine.metrics.rows) == (0, 0)


@pytest.mark.parametrize("policy", [STREAM, DRAWING], ids=["camera", "drawing"])
def test_a_closed_session_is_freed_at_once(engine: Engine, runner: Runner, policy) -> None:
    """By counting references alone: the garbage collector comes when it likes."""
    other = Person(engine, runner)
    gc.collect()
    gc.disable()
    try:
        stream = LiveStream(runner.model.info, LiveParams(width=64, height=64, steps=3), policy, lambda result: None)
        session = LiveSession.of(stream, runner)
        engine.add(session)
        for frame in FRAMES[:5]:
            stream.submit(frame)
        settle(engine)
        stream.close()
        ref = weakref.ref(session)
        del session
        wait_until(lambda: ref() is None, "the session to be freed")
    finally:
        gc.enable()
    assert engine.sessions == 1
    other.session.close()
    assert engine.sessions == 0


def test_a_session_whose_step_failed_is_freed_too(engine: Engine, runner: Runner, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("artflow"), "propagate", False)  # pytest keeps what is logged, and its frames
    fussy = Fussy(runner.model)
    fussy.fails_in = "encode"
    person = Person(engine, fussy)
    person.send(WHITE)
    person.wait_for(1)
    person.session.close()
    ref = weakref.ref(person.engine_session)
    del person
    wait_until(lambda: gc.collect() is None or ref() is None)


def test_a_closed_session_answers_nothing_more(engine: Engine, runner: Runner) -> None:
    person = Person(engine, runner, DRAWING)
    with held(engine):
        person.send(*FRAMES[:3])
        person.session.close()
    settle(engine)
    assert not person.results
    with pytest.raises(ArtflowError, match="has ended"):
        person.send(FRAMES[0])


def test_closing_settles_everything_that_is_open(runner: Runner) -> None:
    engine = Engine()
    person, job = Person(engine, runner, STREAM, steps=4), text_job(runner)
    go_on = threading.Event()
    engine.run_on_engine_thread(lambda: go_on.wait(PATIENCE))
    person.send(*FRAMES[:2])
    engine.add(job)
    closing = threading.Thread(target=engine.close)
    wait_until(lambda: not engine._tasks)
    task = engine.run_on_engine_thread(lambda: None)
    closing.start()
    wait_until(lambda: engine._closing)
    go_on.set()
    closing.join(PATIENCE)
    with pytest.raises(ArtflowError, match="shutting down"):
        task.result(PATIENCE)
    with pytest.raises(ArtflowError, match="shutting down"):
        job.wait()
    assert person.errors == ["engine_closed"] * 2
    for late in (lambda: engine.add(job), lambda: engine.run_on_engine_thread(lambda: None)):
        with pytest.raises(ArtflowError, match="shutting down"):
            late()
