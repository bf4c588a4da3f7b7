"""The arithmetic of live steps, on latents and answers that are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch

from artflow.engine.noise_schedule import ScheduleMaker
from artflow.engine.stream_step import InpaintConditioning, StreamPlan, StreamState
from artflow.images import Size

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ZERO_SNR = CONFIG | {"rescale_betas_zero_snr": True}
CFG_TYPES = ("none", "self", "initialize", "full")
KINDS = ("epsilon", "v_prediction", "sample")
SHAPE = (4, 8, 8)
WORDS, NO_WORDS = {"text": torch.ones(3, 2)}, {"text": torch.zeros(3, 2)}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make_plan(config: dict = CONFIG, kind: str = "lcm", *, steps: int = 3, strength: float = 0.9, **more) -> StreamPlan:
    schedule = ScheduleMaker(config, kind).make(steps, strength)
    noise, count = random(len(schedule), *SHAPE, seed=9), len(schedule)
    kind = more.pop("prediction_type", "epsilon")
    return StreamPlan(schedule, noise, [WORDS] * count, [NO_WORDS] * count, Size(64, 64), kind, **more)


def begun(plan: StreamPlan, source: torch.Tensor | None, inpaint: InpaintConditioning | None = None) -> StreamState:
    return StreamState.start([plan], [source], [inpaint])[0]


def step(state: StreamState, outputs: torch.Tensor) -> None:
    StreamState.advance([state], [outputs])


def converted(noise: torch.Tensor, noisy: torch.Tensor, alpha: float, sigma: float, kind: str) -> torch.Tensor:
    """The answer of another prediction type that means the same as this noise."""
    clean = (noisy - sigma * noise) / alpha
    return {"epsilon": noise, "v_prediction": alpha * noise - sigma * clean, "sample": clean}[kind]


@dataclass
class Seen:
    """A state after one of its steps."""

    latent: torch.Tensor
    stock_noise: torch.Tensor
    finished: torch.Tensor | None


def all_steps(plan: StreamPlan, source: torch.Tensor | None) -> list[Seen]:
    """All steps of one picture; the model's noise of a row is a fixed function of step, row and latent."""
    state, seen = begun(plan, source), []
    for i in range(len(plan.schedule)):
        alpha, sigma = plan.schedule.alpha[i], plan.schedule.sigma[i]
        answers = [
            converted(random(*SHAPE, seed=10 * i + j) + row.latent / 10, row.latent, alpha, sigma, plan.prediction_type)
            for j, row in enumerate(state.rows())
        ]
        step(state, torch.stack(answers))
        seen.append(Seen(state.latent, state.stock_noise, state.finished))
    return seen


@pytest.mark.parametrize(("kind", "cfg_type", "steps"), product(KINDS[1:], CFG_TYPES, (1, 3)))
def test_prediction_types_that_mean_the_same_give_the_same(kind: str, cfg_type: str, steps: int) -> None:
    noise = make_plan(steps=steps, cfg_type=cfg_type, guidance=1.7, delta=0.8)
    expected = all_steps(noise, random(*SHAPE, seed=5))
    actual = all_steps(replace(noise, prediction_type=kind), random(*SHAPE, seed=5))
    for theirs, ours in zip(expected, actual, strict=True):
        torch.testing.assert_close(ours.latent, theirs.latent, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours.stock_noise, theirs.stock_noise, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(actual[-1].finished, expected[-1].finished, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("cfg_type", "kind", "steps"), product(CFG_TYPES, KINDS, (1, 4)))
def test_zero_terminal_snr_stays_finite(cfg_type: str, kind: str, steps: int) -> None:
    """The first step's latent is pure noise: there alpha is zero, and what divides by it has to look elsewhere."""
    plan = make_plan(ZERO_SNR, "turbo", steps=steps, strength=1.0, cfg_type=cfg_type, guidance=2.0)
    assert plan.schedule.alpha[0] == 0
    plan = replace(plan, prediction_type=kind)
    state = begun(plan, random(*SHAPE))
    for i in range(steps):
        step(state, torch.stack([random(*SHAPE, seed=i + j) for j in range(len(state.rows()))]))
        assert state.latent.isfinite().all()
        assert state.stock_noise.isfinite().all()
    assert state.finished is not None and state.finished.isfinite().all()


@pytest.mark.parametrize("cfg_type", CFG_TYPES[1:])
def test_guidance_of_one_equals_none(cfg_type: str) -> None:
    none = all_steps(make_plan(cfg_type="none", guidance=3.0), random(*SHAPE))
    one = all_steps(make_plan(cfg_type=cfg_type, guidance=1.0), random(*SHAPE))
    assert torch.equal(one[-1].finished, none[-1].finished)


@pytest.mark.parametrize("cfg_type", CFG_TYPES[1:])
def test_guidance_above_one_changes_the_picture(cfg_type: str) -> None:
    none = all_steps(make_plan(), random(*SHAPE))
    guided = all_steps(make_plan(cfg_type=cfg_type, guidance=2.0), random(*SHAPE))
    assert (guided[-1].finished - none[-1].finished).abs().max() > 0.1


def test_rows_ask_for_the_negative_prompt_only_where_guidance_needs_it() -> None:
    def rows_by_step(cfg_type: str, guidance: float) -> list[int]:
        state, counts = begun(make_plan(cfg_type=cfg_type, guidance=guidance), None), []
        for _ in range(3):
            rows = state.rows()
            assert [row.inputs is NO_WORDS for row in rows] == [False, True][: len(rows)]
            assert len(rows) == state.plan.row_count(state.step)
            counts.append(len(rows))
            state.step += 1
        return counts

    assert rows_by_step("none", 2.0) == rows_by_step("self", 2.0) == rows_by_step("full", 1.0) == [1, 1, 1]
    assert rows_by_step("initialize", 2.0) == [2, 1, 1]
    assert rows_by_step("full", 2.0) == [2, 2, 2]


def test_a_picture_begins_as_itself_with_the_seeds_noise() -> None:
    plan, source = make_plan(), random(*SHAPE)
    state = begun(plan, source)
    alpha, sigma = plan.schedule.alpha[0], plan.schedule.sigma[0]
    torch.testing.assert_close(state.latent, alpha * source + sigma * plan.noise[0])


def test_without_a_picture_it_begins_with_the_seeds_noise_alone() -> None:
    """The reference draws unseeded noise there."""
    plan = make_plan()
    assert torch.equal(begun(plan, None).latent, plan.noise[0])
    assert torch.equal(all_steps(plan, None)[-1].finished, all_steps(plan, None)[-1].finished)
    other = replace(plan, noise=random(3, *SHAPE, seed=77))
    assert not torch.equal(all_steps(plan, None)[-1].finished, all_steps(other, None)[-1].finished)


def test_only_the_last_step_finishes() -> None:
    assert [step.finished is not None for step in all_steps(make_plan(), random(*SHAPE))] == [False, False, True]


def test_many_pictures_at_once_equal_each_by_itself() -> None:
    """Different cfg types, steps, strengths and steps of the way in one arithmetic."""
    plans = [
        make_plan(steps=steps, strength=strength, cfg_type=cfg_type, guidance=guidance, delta=0.7)
        for steps, strength, (cfg_type, guidance) in product(
            (1, 3), (0.3, 0.9), zip(CFG_TYPES, (1.0, 1.5, 2.0, 3.0), strict=True)
        )
    ]
    sources = [random(*SHAPE, seed=i) for i in range(len(plans))]
    states, again = (StreamState.start(plans, sources, [None] * len(plans)) for _ in range(2))
    for i, (one, other) in enumerate(zip(states, again, strict=True)):
        one.step = other.step = i % len(one.plan.schedule)
    answers = [
        torch.stack([random(*SHAPE, seed=100 + 10 * i + j) for j in range(len(state.rows()))])
        for i, state in enumerate(states)
    ]
    StreamState.advance(states, answers)
    for together, alone, answer in zip(states, again, answers, strict=True):
        step(alone, answer)
        torch.testing.assert_close(together.latent, alone.latent)
        torch.testing.assert_close(together.stock_noise, alone.stock_noise)
        assert (together.finished is None) == (alone.finished is None)
        if together.finished is not None:
            torch.testing.assert_close(together.finished, alone.finished)


def test_a_single_step_with_self_guidance_goes_away_from_the_picture_it_began_with() -> None:
    """The reference goes on from what the frame before left, which grows from frame to frame without end."""
    plan, source, output = make_plan(steps=1, cfg_type="self", guidance=1.5), random(*SHAPE), random(1, *SHAPE, seed=1)
    state = begun(plan, source)
    step(state, output)
    s = plan.schedule
    noisy = s.alpha[0] * source + s.sigma[0] * plan.noise[0]
    clean = (noisy - s.sigma[0] * output[0]) / s.alpha[0]
    clean = clean + 0.5 * (clean - source)
    torch.testing.assert_close(state.finished, s.c_out[0] * clean + s.c_skip[0] * noisy, atol=1e-5, rtol=1e-4)


def test_pictures_of_different_prediction_types_share_a_step() -> None:
    """People may say what a model predicts, and others of the same call may not."""
    plans = [make_plan(prediction_type=kind, cfg_type="full", guidance=1.5) for kind in KINDS]
    alone, together = ([begun(plan, random(*SHAPE)) for plan in plans] for _ in range(2))
    outputs = [random(2, *SHAPE, seed=i) for i in range(len(KINDS))]
    for state, output in zip(alone, outputs, strict=True):
        step(state, output)
    StreamState.advance(together, outputs)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.latent, other.latent)
