"""Prompts: encoded once, blended linearly; noises blended on the sphere."""

from __future__ import annotations

import threading

import pytest
import torch

from artflow.engine.conditioning import CACHED, ConditionEncoder, blend, slerp
from artflow.engine.runner import Runner
from artflow.models.model import Condition
from tests.support.models import tiny_model, tiny_runner


def test_a_text_is_encoded_once(runner: Runner) -> None:
    red, blue = runner.conditions.encode("a red fox"), runner.conditions.encode("a blue fox")
    assert runner.conditions.encode("a red fox") is red
    assert not torch.equal(red["text"], blue["text"])


def test_only_the_most_recent_are_kept() -> None:
    prompts = ConditionEncoder(tiny_model())
    first, kept = prompts.encode("first"), prompts.encode("kept")
    for i in range(CACHED - 1):
        prompts.encode(f"prompt {i}")
        assert prompts.encode("kept") is kept
    assert prompts.encode("first") is not first


def test_a_text_over_the_tokenizers_length_is_cut() -> None:
    prompts = ConditionEncoder(tiny_model())
    long = "x" * 500
    assert torch.equal(prompts.encode(long)["text"], prompts.encode(long + " and more")["text"])


def test_sdxl_has_pooled_embeddings_and_zeros_for_no_negative_prompt() -> None:
    prompts = tiny_runner(family="sdxl").conditions
    words, nothing = prompts.encode("a red fox"), prompts.encode("", negative=True)
    assert words["text"].shape == nothing["text"].shape and words["pooled"].any()
    assert not nothing["text"].any() and not nothing["pooled"].any()
    assert prompts.encode("")["text"].any()  # an empty positive prompt is a prompt


def test_a_blend_lies_between(runner: Runner) -> None:
    a, b = runner.conditions.encode("day"), runner.conditions.encode("night")
    torch.testing.assert_close(blend(a, b, 0.25)["text"], 0.75 * a["text"] + 0.25 * b["text"])
    assert torch.equal(blend(a, b, 0)["text"], a["text"])


def test_prompts_that_wait_together_are_encoded_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls, ready = tiny_model(), [], threading.Event()
    prepare, begun, go_on = model.prepare, threading.Event(), threading.Event()

    def slow(conditions):
        calls.append([condition.prompt for condition in conditions])
        begun.set()
        assert go_on.wait(30)
        return prepare(conditions)

    monkeypatch.setattr(model, "prepare", slow)
    encoder = ConditionEncoder(model)
    assert encoder.get([Condition("first")], ready.set) is None
    assert begun.wait(30)
    for name in ("a", "b", "c"):
        assert encoder.get([Condition(name)], ready.set) is None
    go_on.set()
    assert torch.equal(encoder.encode("c")["text"], ConditionEncoder(tiny_model()).encode("c")["text"])
    assert calls[:2] == [["first"], ["a", "b", "c"]]


def test_a_prompt_that_cannot_be_encoded_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    prepare = model.prepare

    def fussy(conditions):
        if any(condition.prompt == "too much" for condition in conditions):
            raise RuntimeError("out of memory")
        return prepare(conditions)

    monkeypatch.setattr(model, "prepare", fussy)
    encoder, ready = ConditionEncoder(model), threading.Event()
    wanted = [Condition("fine"), Condition("too much")]
    assert encoder.get(wanted, ready.set) is None
    assert ready.wait(30)
    with pytest.raises(RuntimeError, match="out of memory"):
        encoder.get(wanted, ready.set)
    assert encoder.get([Condition("fine")], ready.set) is not None


def test_what_was_prepared_with_a_lora_that_is_gone_again_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ready = tiny_model(), threading.Event()
    wanted = Condition("a cat", more=(("unread", ("neon",)),))
    monkeypatch.setattr(model, "essential", lambda condition: condition)
    encoder = ConditionEncoder(model)
    assert encoder.get([wanted], ready.set) is None
    assert ready.wait(30)
    assert encoder.get([wanted], ready.set) is None


def test_slerp_keeps_the_norm_where_lerp_would_lose_it() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 4, 64, 64, generator=generator)
    for amount in (0.0, 0.3, 0.5, 1.0):
        assert slerp(a, b, amount).norm() == pytest.approx(float(a.norm()), rel=0.02)
    assert torch.lerp(a, b, 0.5).norm() < 0.8 * a.norm()
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)


def test_slerp_of_a_noise_with_itself_is_itself() -> None:
    a = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(slerp(a, a, 0.5), a)
