"""Noise schedules: the numbers of diffusers, as pure functions."""

from __future__ import annotations

import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler

from artflow.engine.noise_schedule import ScheduleMaker, betas, boundary_scalings
from artflow.engine.timesteps import lcm_timesteps, trailing_timesteps
from artflow.errors import ArtflowError

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CONFIGS = {
    "scaled_linear": STABLE_DIFFUSION,
    "linear": {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "trained": {"trained_betas": torch.linspace(0.001, 0.01, 1000).tolist()},
    "zero terminal SNR": STABLE_DIFFUSION | {"rescale_betas_zero_snr": True},
    "defaults": {},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_betas_of_every_kind_are_those_of_diffusers(name: str) -> None:
    config = CONFIGS[name]
    theirs = LCMScheduler(**{"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"} | config)
    torch.testing.assert_close(betas(config), theirs.betas, atol=1e-6, rtol=0)


def test_an_unknown_beta_schedule_is_named_with_those_there_are() -> None:
    with pytest.raises(ArtflowError, match=r"'sigmoid'.*scaled_linear.*trained_betas") as caught:
        betas({"beta_schedule": "sigmoid"})
    assert caught.value.code == "bad_schedule"


@pytest.mark.parametrize("strength", [0.1, 0.3, 0.58, 0.75, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_lcm_timesteps_are_those_of_diffusers(steps: int, strength: float) -> None:
    scheduler = LCMScheduler(**STABLE_DIFFUSION)
    points = int(50 * strength)
    scheduler.set_timesteps(min(steps, points), strength=strength)
    assert lcm_timesteps(steps, strength) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("steps", range(1, 9))
def test_turbo_timesteps_are_the_trailing_ones_of_diffusers(steps: int) -> None:
    scheduler = EulerDiscreteScheduler(**STABLE_DIFFUSION, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert trailing_timesteps(steps, 1.0) == scheduler.timesteps.tolist()


def test_turbo_strength_moves_the_first_step_down() -> None:
    assert trailing_timesteps(2, 0.6) == [599, 299]
    assert trailing_timesteps(1, 0.3) == [299]


def test_strength_zero_still_has_one_step_close_to_the_picture() -> None:
    assert lcm_timesteps(4, 0.0) == [19]
    assert trailing_timesteps(4, 0.0) == [0]


@pytest.mark.parametrize("timestep", [0, 19, 259, 999])
def test_boundary_scalings_are_those_of_diffusers(timestep: int) -> None:
    theirs = LCMScheduler(**STABLE_DIFFUSION).get_scalings_for_boundary_condition_discrete(timestep)
    assert boundary_scalings(timestep) == pytest.approx([float(s) for s in theirs], abs=1e-6)


@pytest.mark.parametrize("kind", ["lcm", "turbo"])
def test_alpha_and_sigma_are_square_roots_of_the_products(kind: str) -> None:
    schedule = ScheduleMaker(STABLE_DIFFUSION, kind).make(4, 0.8)
    products = LCMScheduler(**STABLE_DIFFUSION).alphas_cumprod
    for t, alpha, sigma in zip(schedule.timesteps, schedule.alpha, schedule.sigma, strict=True):
        assert alpha == pytest.approx(float(products[t].sqrt()), abs=1e-6)
        assert sigma == pytest.approx(float((1 - products[t]).sqrt()), abs=1e-6)
    assert len(schedule) == 4


def test_only_consistency_models_mix_the_noisy_latent_in() -> None:
    lcm, turbo = (ScheduleMaker(STABLE_DIFFUSION, kind).make(2, 0.5) for kind in ("lcm", "turbo"))
    assert lcm.c_skip == tuple(boundary_scalings(t)[0] for t in lcm.timesteps)
    assert turbo.c_skip == (0, 0)
    assert turbo.c_out == (1, 1)


def test_explicit_indices_count_from_the_noisiest_of_the_50_step_grid() -> None:
    maker = ScheduleMaker(STABLE_DIFFUSION, "lcm")
    assert maker.make(2, 0.5, (0, 16, 49)).timesteps == (999, 679, 19)
    assert ScheduleMaker(STABLE_DIFFUSION, "turbo").make(2, 0.5, (32, 45)).timesteps == (359, 99)


@pytest.mark.parametrize("indices", [(), (3, 3), (5, 2), (-1, 4), (0, 50), tuple(range(9))])
def test_impossible_indices_are_refused(indices: tuple[int, ...]) -> None:
    with pytest.raises(ArtflowError, match="1 to 8 rising whole numbers from 0 to 49") as caught:
        ScheduleMaker(STABLE_DIFFUSION, "lcm").make(2, 0.5, indices)
    assert caught.value.code == "bad_t_index_list"
