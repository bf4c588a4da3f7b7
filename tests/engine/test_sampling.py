"""The steps of jobs' pictures on the samplers of diffusers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from artflow.engine import sampling
from artflow.engine.image_spec import ImageSpec
from artflow.engine.runner import Runner
from artflow.engine.sampling import SAMPLERS, make_sampler
from artflow.images import Size
from tests.support.jobs import all_steps, sampling_state

SIZE = Size(64, 64)


@pytest.mark.parametrize("name", [name for name, (kind, _) in SAMPLERS.items() if kind is not DDIMScheduler])
@pytest.mark.parametrize("case", ["text", "inpaint, all of the steps", "inpaint, some of the steps"])
def test_a_sampler_is_told_its_first_step_and_never_looks_it_up(
    runner: Runner, monkeypatch, name: str, case: str
) -> None:
    """On a GPU the search waits for the device, at each step of an inpaint job."""
    sampler = make_sampler(name, runner.model.scheduler_config)
    monkeypatch.setattr(sampler, "index_for_timestep", lambda *_, **__: pytest.fail("looked its step up"))
    monkeypatch.setattr(sampling, "make_sampler", lambda *_: sampler)
    spec = ImageSpec({}, SIZE, 1, "a cat", "", 4, 1.0, name)
    if case == "text":
        state = sampling_state(runner, spec)
    else:
        strength = 0.5 if "some" in case else 1.0
        inpaint = replace(spec, mask=np.full((64, 64), 255, np.uint8), strength=strength)
        state = sampling_state(runner, inpaint, torch.zeros(runner.model.latent_shape(SIZE)))
    assert all_steps(runner, state).isfinite().all()
