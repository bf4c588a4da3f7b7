"""LoRAs in the engine: live and in jobs, each person as if alone."""

from __future__ import annotations

import pytest
import torch

from artflow.engine.engine import Engine
from artflow.engine.runner import Runner
from artflow.models.catalog import ModelSpec
from artflow.models.loader import load_model
from tests.support.jobs import text_job
from tests.support.live import DRAWING, Person, difference, held, noisy
from tests.support.loras import write_lora
from tests.support.models import tiny_folder

NAMES = ("one", "two", "three")
SETS = [{}, {"one": 1.0}, {"two": 0.7, "one": -0.4}, {"three": 1.5}]


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Runner:
    """A tiny model with three LoRAs at hand; the first is for the text tower, too."""
    spec = ModelSpec(id="tiny", source={"folder": str(tiny_folder())}, width=64, height=64)
    model = load_model(spec, device="cpu", dtype=torch.float32)
    model.lora_folder = tmp_path_factory.mktemp("loras")
    for i, name in enumerate(NAMES):
        more = {"text_encoder": model.text_encoders[0]} if name == "one" else {}
        write_lora(model.lora_folder / f"{name}.safetensors", {"unet": model.unet, **more}, seed=i, format="kohya")
    return Runner(model)


def test_sixteen_people_with_four_sets_of_loras_are_each_as_if_alone(runner, engine: Engine):
    people = [Person(engine, runner, DRAWING, prompt=f"a cat {i}", loras=SETS[i % 4], seed=i) for i in range(16)]
    for i, person in enumerate(people):
        person.answer(noisy(i))
    alone = [person.answer(noisy(i)).picture for i, person in enumerate(people)]
    calls = engine.metrics.calls
    with held(engine):
        for i, person in enumerate(people):
            person.send(noisy(i))
    together = [person.wait_for(3)[-1].picture for person in people]
    assert engine.metrics.calls - calls < 16  # they did share
    assert max(difference(ours, theirs) for ours, theirs in zip(together, alone, strict=True)) <= 1
    assert people[2].results[-1].recipe["loras"] == [{"name": "two", "weight": 0.7}, {"name": "one", "weight": -0.4}]


def test_a_weight_that_is_moved_acts_on_the_next_frame(runner, engine: Engine):
    person = Person(engine, runner, DRAWING, prompt="a cat")
    base = person.answer(noisy(1)).picture
    person.change(loras={"two": 1.0})
    with_it = person.answer(noisy(1)).picture
    person.change(loras={"two": 0.0})
    assert difference(person.answer(noisy(1)).picture, base) == 0
    person.change(loras={}, prompt="a cat <lora:two:1>")
    again = person.answer(noisy(1))
    assert difference(again.picture, with_it) <= 1 < difference(with_it, base)
    assert again.recipe["prompt"] == "a cat" and again.recipe["loras"] == [{"name": "two", "weight": 1.0}]


def test_a_budget_for_one_lora_lets_the_session_take_another(runner, engine: Engine, monkeypatch):
    monkeypatch.setattr("artflow.models.lora.JUST_ASKED", 0.0)
    person = Person(engine, runner, DRAWING, loras={"two": 1.0})
    assert person.answer(noisy(1)).picture is not None
    monkeypatch.setattr(runner.model, "lora_budget", runner.model.loras.loaded["two"].size * 3 // 2)
    person.change(loras={"three": 1.0})
    answers = [person.answer(noisy(1)) for _ in range(3)]
    assert answers[-1].picture is not None


def test_one_that_cannot_be_read_is_an_error_of_its_frames_and_the_stream_goes_on(runner, engine: Engine):
    (runner.model.lora_folder / "broken.safetensors").write_bytes(b"nothing")
    person = Person(engine, runner, DRAWING, loras={"broken": 1.0})
    assert "'broken' cannot be used" in person.answer(noisy(1)).error.message
    person.change(loras={})
    assert person.answer(noisy(1)).picture is not None


def test_a_job_has_loras_for_a_part_of_its_steps(runner, engine: Engine):
    def made(prompt: str, **loras: float):
        job = text_job(runner, prompt=prompt, loras=loras, guidance_scale=2.0)
        engine.add(job)
        return job.wait()[0]

    base, whole = made("a cat"), made("a cat", two=1.0)
    half, tag = made("a cat <lora:two:1:0.5-1>"), made("a cat <lora:two:1>")
    assert difference(whole.picture, tag.picture) <= 1
    assert min(difference(half.picture, other.picture) for other in (base, whole)) > 1
    assert whole.recipe["loras"] == [{"name": "two", "weight": 1.0}] and whole.recipe["prompt"] == "a cat"
    assert half.recipe["loras"] == [{"name": "two", "weight": 1.0, "range": "0.5-1"}]
