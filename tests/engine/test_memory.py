"""What happens when the device's memory is full, or a model gives what is no number."""

from __future__ import annotations

import logging

import pytest
import torch

from artflow.engine.engine import Engine
from artflow.engine.runner import Runner
from tests.support.colour_family import ColourModel
from tests.support.jobs import text_job
from tests.support.live import DRAWING, STREAM, Person, held, noisy


class Small(ColourModel):
    """Its memory holds so many rows."""

    rows = 2

    def predict(self, latents, timesteps, inputs):
        if len(latents) > self.rows:
            self.calls.append(-len(latents))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().predict(latents, timesteps, inputs)


def served_together(engine: Engine, runner: Runner, count: int) -> list[Person]:
    people = [Person(engine, runner, DRAWING, prompt="red", steps=1) for _ in range(count)]
    with held(engine):
        for person in people:
            person.send(noisy(1))
    return people


def test_a_call_that_is_too_large_is_halved_and_everybody_gets_a_picture(engine: Engine) -> None:
    runner = Runner(Small())
    runner.conditions.encode("red")
    runner.conditions.encode("", negative=True)
    for person in served_together(engine, runner, 8):
        assert person.wait_for(1)[0].picture is not None
    assert runner.model.calls == [-8, -4, 2, 2, -4, 2, 2]


def test_how_many_rows_fit_is_remembered_for_that_shape(engine: Engine) -> None:
    runner = Runner(Small())
    for _ in range(2):
        for person in served_together(engine, runner, 8):
            person.wait_for(1)
    failed = [calls for calls in runner.model.calls if calls < 0]
    assert failed and runner.model.calls[-4:] == [2, 2, 2, 2]
    assert runner.model.calls.index(failed[-1]) < 8


def test_what_was_computed_is_let_go_before_it_is_tried_again(engine: Engine, monkeypatch) -> None:
    """The error's traceback holds the tensors of the failed call; none may be alive while the halves compute."""
    monkeypatch.setattr(logging.getLogger("artflow"), "propagate", False)
    alive: list[int] = []
    living: set[int] = set()

    class Held:
        def __init__(self) -> None:
            living.add(id(self))

        def __del__(self) -> None:
            living.discard(id(self))

    class Greedy(Small):
        def predict(self, latents, timesteps, inputs):
            alive.append(len(living))
            activations = Held()  # noqa: F841 - a local, as the tensors of a network are
            return super().predict(latents, timesteps, inputs)

    for person in served_together(engine, Runner(Greedy()), 4):
        person.wait_for(1)
    assert len(alive) >= 3 and set(alive) == {0}


def test_one_row_that_does_not_fit_is_told_in_a_sentence_and_the_session_goes_on(engine: Engine) -> None:
    model = Small()
    model.rows = 0
    person = Person(engine, Runner(model), DRAWING, steps=1)
    error = person.answer(noisy(1)).error
    assert (error.code, "memory is full" in error.message) == ("out_of_memory", True)
    model.rows = 2
    assert person.answer(noisy(2)).picture is not None


class Broken(ColourModel):
    """Decodes to nothing in half precision, and where the latent itself is broken."""

    half = True

    def decode(self, latents):
        pixels = super().decode(latents)
        return pixels * float("nan") if self.half else pixels

    def use_float32_decoder(self) -> bool:
        changed, self.half = self.half, False
        return changed


def test_a_decoder_that_overflows_decodes_again_in_float32(engine: Engine) -> None:
    runner = Runner(Broken())
    for _ in range(2):
        assert Person(engine, runner, DRAWING, prompt="red", steps=1).answer(noisy(1)).picture.std() > 0


@pytest.mark.parametrize("policy", [STREAM, DRAWING], ids=["camera", "drawing"])
def test_a_picture_that_is_no_number_is_an_error_of_its_owner_alone(engine: Engine, policy) -> None:
    class Cracked(ColourModel):
        def predict(self, latents, timesteps, inputs):
            clean = super().predict(latents, timesteps, inputs)
            clean[inputs["colour"][:, 0] > 0.5] = float("nan")  # the red ones
            return clean

    runner = Runner(Cracked())
    bad, good = (Person(engine, runner, policy, prompt=prompt, steps=1) for prompt in ("red", "green"))
    job = text_job(runner, prompt="blue", steps=1, sampler="DDIM")
    with held(engine):
        bad.send(noisy(1))
        good.send(noisy(1))
        engine.add(job)
    assert bad.wait_for(1)[0].error.code == "not_finite"
    assert good.wait_for(1)[0].picture is not None
    assert len(job.wait()) == 1
