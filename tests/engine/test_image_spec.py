"""A picture of a job as plain values: what the engine makes of them, wherever they come from."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from artflow.engine import sampling
from artflow.engine.engine import Engine
from artflow.engine.image_spec import SAMPLERS, ImageSpec, NoiseRegion
from artflow.engine.noise import NoiseSource
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplingState
from artflow.images import Picture, Size
from tests.support.jobs import Asked, all_steps, sampling_state
from tests.support.live import SIDE, difference, noisy
from tests.support.models import tiny_runner

MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[16:48, 8:40] = 255


def fox(**more: Any) -> ImageSpec:
    """A picture of a fox."""
    asked: dict[str, Any] = {
        "recipe": {"prompt": "a fox"}, "size": Size(SIDE, SIDE), "seed": 7, "prompt": "a fox", "negative_prompt": "",
        "steps": 2, "guidance": 1.5, "sampler": "DDIM",
    }  # fmt: skip
    return ImageSpec(**asked | more)


KINDS = {
    "text": fox(),
    "image to image": fox(source=noisy(1), strength=0.5),
    "inpaint": fox(source=noisy(1), mask=MASK, masked_image=noisy(1), strength=0.5),
    "tile": fox(source=noisy(1), strength=0.5, noise_region=NoiseRegion(2, 4)),
}


def made(engine: Engine, runner: Runner, *specs: ImageSpec) -> list[Picture]:
    """The pictures of these specs as one job."""
    job = Asked(runner, specs)
    engine.add(job)
    return [image.picture for image in job.wait()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_that_has_travelled_gives_the_same_picture(engine: Engine, runner: Runner, kind: str) -> None:
    here = KINDS[kind]
    there = pickle.loads(pickle.dumps(here))
    first, second = made(engine, runner, here, there)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_json_or_an_array(kind: str) -> None:
    for field in fields(ImageSpec):
        value = getattr(KINDS[kind], field.name)
        assert isinstance(value, np.ndarray) or json.dumps(value), field.name


def test_every_sampler_that_may_be_named_is_there() -> None:
    assert tuple(sampling.SAMPLERS) == SAMPLERS


def test_without_a_source_it_begins_from_the_seeds_noise(runner: Runner) -> None:
    state = sampling_state(runner, fox())
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(state.latent, noise)
    assert state.steps == 2


def test_all_steps_are_run_at_any_strength(runner: Runner) -> None:
    assert [sampling_state(runner, fox(source=noisy(1), strength=s)).steps for s in (0.2, 0.5, 1.0)] == [2, 2, 2]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_neighbouring_tiles_have_the_same_noise_at_every_step(runner: Runner, sampler: str) -> None:
    """Some samplers draw anew at each step. With outputs that look at no neighbour, what tiles share stays equal."""
    alone, first, second = (
        sampling_state(runner, fox(sampler=sampler, steps=5, noise_region=region))
        for region in (None, NoiseRegion(60, 62), NoiseRegion(62, 66))  # across the corner of four blocks
    )
    while not first.done:
        assert torch.equal(first.latent[..., 2:, 4:], second.latent[..., :-2, :-4])
        for state in (alone, first, second):
            SamplingState.advance([state], [torch.cat([row.latent[None] for row in state.rows()]).tanh()])
    assert torch.equal(first.latent[..., 2:, 4:], second.latent[..., :-2, :-4])
    assert not torch.equal(first.latent, second.latent) and not torch.equal(first.latent, alone.latent)


def test_a_field_of_noise_is_normal_and_repeats_nowhere() -> None:
    source = NoiseSource(7, NoiseRegion(0, 0))
    first, second = source.draw((1, 4, 128, 128)), source.draw((1, 4, 128, 128))
    blocks = [noise[:, :, y : y + 64, x : x + 64] for noise in (first, second) for y in (0, 64) for x in (0, 64)]
    for i, block in enumerate(blocks):
        assert abs(block.mean()) < 0.05 and abs(block.std() - 1) < 0.05
        assert all(abs((block * other).mean()) < 0.05 for other in blocks[:i])


def test_outside_of_the_mask_the_source_stays(engine: Engine, runner: Runner) -> None:
    (picture,) = made(engine, runner, KINDS["inpaint"])
    (itself,) = runner.decode(runner.encode([noisy(1)]))
    assert difference(picture[:, 48:], itself[:, 48:]) < difference(picture[16:48, 8:40], itself[16:48, 8:40])


def test_an_inpaint_model_is_shown_the_masked_image(engine: Engine) -> None:
    runner = tiny_runner(inpaint=True)
    grey = np.full((SIDE, SIDE, 3), 127, np.uint8)
    spec = replace(KINDS["inpaint"], strength=1.0)
    first, second = made(engine, runner, spec, replace(spec, masked_image=grey))
    assert difference(first, second) > 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_the_model_predicts_may_be_said_where_its_file_does_not(runner: Runner, sampler: str) -> None:
    """The same weights, whose config says velocity, make the same picture."""
    velocity = tiny_runner(prediction_type="v_prediction")
    asked = fox(sampler=sampler, prediction_type="v_prediction")
    made = all_steps(runner, sampling_state(runner, asked))
    torch.testing.assert_close(made, all_steps(velocity, sampling_state(velocity, fox(sampler=sampler))))
    assert not torch.allclose(made, all_steps(runner, sampling_state(runner, fox(sampler=sampler))))
