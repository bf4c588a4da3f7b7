"""Flights of jobs on the samplers of diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from artflow.engine.runner import Runner
from artflow.engine.sampling import SAMPLERS, SamplerFlight, make_sampler
from artflow.images import Size

SIZE = Size(64, 64)


@pytest.mark.parametrize("name", [name for name, (kind, _) in SAMPLERS.items() if kind is not DDIMScheduler])
@pytest.mark.parametrize("case", ["text", "inpaint, all of the steps", "inpaint, some of the steps"])
def test_a_sampler_is_told_its_first_step_and_never_looks_it_up(
    runner: Runner, monkeypatch, name: str, case: str
) -> None:
    """On a GPU the search waits for the device, at each step of an inpaint job."""
    sampler = make_sampler(name, runner.model.scheduler_config)
    monkeypatch.setattr(sampler, "index_for_timestep", lambda *_, **__: pytest.fail("looked its step up"))
    shape = runner.latent_shape(SIZE)
    text = runner.prompts.encode("a cat")
    picture = {"source": torch.zeros(shape), "mask": torch.ones(shape[1:]), "strength": 0.5 if "some" in case else 1.0}
    flight = SamplerFlight(
        sampler, steps=4, shape=shape, seed=1, positive=text, negative=text, guidance=1.0, embedded_guidance=False,
        size=SIZE, device=runner.model.device, **({} if case == "text" else picture),
    )  # fmt: skip
    while not flight.done:
        flight.advance(runner.predict(flight.rows()))
    assert flight.latent.isfinite().all()
