"""Jobs against the pipelines of diffusers: same weights, prompt, sampler and seed, equal to 1e-4."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    LatentConsistencyModelPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)

from artflow.engine.image_spec import ImageSpec
from artflow.engine.runner import Runner
from artflow.engine.sampling import SAMPLERS, make_sampler
from artflow.errors import ArtflowError
from artflow.images import Size
from tests.support.jobs import all_steps, sampling_state
from tests.support.models import tiny_folder, tiny_runner

SIZE = Size(64, 64)
PROMPT, NEGATIVE, SEED, STEPS = "a red fox", "blurry", 11, 5


@cache
def pipe(kind: type[DiffusionPipeline], **options: Any) -> DiffusionPipeline:
    """The reference over a tiny folder."""
    plain = {} if options.get("family") == "sdxl" else {"safety_checker": None, "requires_safety_checker": False}
    if kind is LatentConsistencyModelPipeline:
        plain.pop("safety_checker")
    loaded = kind.from_pretrained(tiny_folder(**options), **plain)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def sampled(
    runner: Runner,
    sampler: str,
    *,
    guidance: float,
    steps: int = STEPS,
    negative: str = NEGATIVE,
    source: torch.Tensor | None = None,
    strength: float = 1.0,
) -> torch.Tensor:
    """The finished latent of our own steps."""
    if source is not None:  # diffusers is asked for more steps than it runs, we for those that are run
        steps = max(int(steps * strength), 1)
    spec = ImageSpec({}, SIZE, SEED, PROMPT, negative, steps, guidance, sampler, strength)
    return all_steps(runner, sampling_state(runner, spec, *([] if source is None else [source])))


def asked(reference: DiffusionPipeline, sampler: str, runner: Runner, **more: Any) -> torch.Tensor:
    """The latent that the reference makes."""
    reference.scheduler = make_sampler(sampler, runner.model.scheduler_config)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        return reference(PROMPT, generator=generator, output_type="latent", **more).images


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance", [1.0, 2.0])  # much more only makes more of what is rounded differently
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_text_to_picture(sampler: str, guidance: float) -> None:
    runner = tiny_runner()
    theirs = asked(
        pipe(StableDiffusionPipeline), sampler, runner, num_inference_steps=STEPS, guidance_scale=guidance,
        negative_prompt=NEGATIVE, width=64, height=64,
    )  # fmt: skip
    close(sampled(runner, sampler, guidance=guidance), theirs)


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_text_to_picture_of_other_prediction_types(kind: str) -> None:
    runner = tiny_runner(prediction_type=kind)
    theirs = asked(
        pipe(StableDiffusionPipeline, prediction_type=kind), "Euler", runner, num_inference_steps=STEPS,
        guidance_scale=3.0, negative_prompt=NEGATIVE, width=64, height=64,
    )  # fmt: skip
    close(sampled(runner, "Euler", guidance=3.0), theirs)


@pytest.mark.parametrize("strength", [0.2, 0.7])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_picture_to_picture(sampler: str, strength: float) -> None:
    runner = tiny_runner()
    source = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    theirs = asked(
        pipe(StableDiffusionImg2ImgPipeline), sampler, runner, image=source, strength=strength,
        num_inference_steps=STEPS, guidance_scale=3.0, negative_prompt=NEGATIVE,
    )  # fmt: skip
    close(sampled(runner, sampler, guidance=3.0, source=source[0], strength=strength), theirs)


@pytest.mark.parametrize("negative", ["", NEGATIVE])
def test_sdxl(negative: str) -> None:
    """With its two towers, sizes, and zeros for an empty negative prompt."""
    runner = tiny_runner(family="sdxl")
    theirs = asked(
        pipe(StableDiffusionXLPipeline, family="sdxl"), "Euler", runner, num_inference_steps=STEPS,
        guidance_scale=3.0, negative_prompt=negative or None, width=64, height=64,
    )  # fmt: skip
    close(sampled(runner, "Euler", guidance=3.0, negative=negative), theirs)


def test_a_model_with_a_guidance_embedding() -> None:
    """One row a step, whatever the guidance: it is an input of the UNet."""
    runner = tiny_runner(time_cond=True)
    theirs = asked(
        pipe(LatentConsistencyModelPipeline, time_cond=True), "LCM", runner, num_inference_steps=4,
        guidance_scale=8.0, width=64, height=64,
    )  # fmt: skip
    close(sampled(runner, "LCM", guidance=8.0, steps=4), theirs)


@pytest.mark.parametrize("vae", ["tiny", "kl"])
def test_decoded_pictures(vae: str) -> None:
    runner, reference = tiny_runner(vae=vae), pipe(StableDiffusionPipeline, vae=vae)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        decoded = reference.vae.decode(latents / reference.vae.config.scaling_factor, return_dict=False)[0]
    theirs = reference.image_processor.postprocess(decoded, output_type="np")
    ours = torch.stack([torch.from_numpy(picture) for picture in runner.decode(latents)])
    assert (ours.double() - torch.from_numpy(theirs).double() * 255).abs().max() <= 0.51


def test_an_unknown_sampler_is_named_with_those_there_are() -> None:
    with pytest.raises(ArtflowError, match=r"'Foo'.*Euler a.*DPM\+\+ 2M Karras") as caught:
        make_sampler("Foo", {})
    assert caught.value.code == "unknown_sampler"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_zero_terminal_snr_stays_finite(sampler: str) -> None:
    runner = tiny_runner(prediction_type="v_prediction")
    products = torch.cumprod(1 - make_sampler("DDIM", runner.model.scheduler_config).betas, 0).sqrt()
    products = ((products - products[-1]) * products[0] / (products[0] - products[-1])) ** 2
    betas = (1 - torch.cat([products[:1], products[1:] / products[:-1]])).tolist()
    sampler_of = make_sampler(sampler, runner.model.scheduler_config | {"trained_betas": betas})
    assert sampler_of.alphas_cumprod[-1] > 0
    sampler_of.set_timesteps(STEPS)
    assert all(torch.isfinite(torch.as_tensor(time)) for time in sampler_of.timesteps)
