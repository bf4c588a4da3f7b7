"""Control against the pipelines of diffusers: same weights, prompt, sampler, map and seed, equal to 1e-4."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    T2IAdapter,
)
from PIL import Image

from artflow.engine.control_unit import ControlPicture, ControlUnit
from artflow.engine.image_spec import ImageSpec
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplingPlan, SamplingState, make_sampler
from artflow.images import Picture, Size
from artflow.models.catalog import ModelSpec
from artflow.models.loader import load_model
from tests.support.control import lines, load, networks, tiny_controls  # noqa: F401 - a fixture
from tests.support.jobs import all_steps
from tests.support.models import tiny_folder

SIZE, SEED, STEPS = Size(64, 64), 11, 5
PROMPT, NEGATIVE = "a red fox", "blurry"

pytestmark = pytest.mark.usefixtures("tiny_controls")


def runner_of(**options: Any) -> Runner:
    """Over a model of its own, whose networks come and go with it."""
    spec = ModelSpec(id="tiny", source={"folder": str(tiny_folder(**options))}, width=64, height=64)
    return Runner(load_model(spec, device="cpu", dtype=torch.float32))


def steered(
    runner: Runner, *controls: tuple[ControlUnit, Picture], guidance: float = 3.0, source: torch.Tensor | None = None,
    steps: int = STEPS, strength: float = 1.0,
) -> torch.Tensor:  # fmt: skip
    """The finished latent of our own steps."""
    pictures = [ControlPicture(*control) for control in controls]
    load(runner, *(picture.unit.kind for picture in pictures))
    spec = ImageSpec({}, SIZE, SEED, PROMPT, NEGATIVE, steps, guidance, "Euler", strength)
    prompts = runner.conditions.encode(PROMPT), runner.conditions.encode(NEGATIVE, negative=True)
    sources = torch.empty(0) if source is None else source
    return all_steps(runner, SamplingState(SamplingPlan.of(spec, runner, *prompts), runner, sources, pictures))


def reference(kind: type[DiffusionPipeline], runner: Runner, model: dict[str, Any], **parts: Any) -> DiffusionPipeline:
    plain = {} if model.get("family") == "sdxl" else {"safety_checker": None, "requires_safety_checker": False}
    pipe = kind.from_pretrained(tiny_folder(**model), **plain, **parts)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = make_sampler("Euler", runner.model.scheduler_config)
    return pipe


def asked(pipe: DiffusionPipeline, **more: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    common = {"num_inference_steps": STEPS, "guidance_scale": 3.0, "negative_prompt": NEGATIVE}
    with torch.no_grad():
        return pipe(PROMPT, generator=generator, output_type="latent", **common, **more).images


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def net(name: str) -> ControlNetModel:
    return ControlNetModel.from_pretrained(networks()[name])


def test_text_to_picture_with_weight_start_and_end() -> None:
    runner = runner_of()
    pipe = reference(StableDiffusionControlNetPipeline, runner, {}, controlnet=net("canny"))
    about = {"controlnet_conditioning_scale": 0.7, "control_guidance_start": 0.2, "control_guidance_end": 0.8}
    theirs = asked(pipe, image=Image.fromarray(lines()), width=64, height=64, **about)
    ours = steered(runner, (ControlUnit(kind="canny", weight=0.7, start=0.2, end=0.8), lines()))
    close(ours, theirs)
    assert (ours - steered(runner)).abs().max() > 0.1  # it does something


def test_two_networks_on_one_picture() -> None:
    runner = runner_of()
    pipe = reference(StableDiffusionControlNetPipeline, runner, {}, controlnet=[net("canny"), net("scribble")])
    pictures = [Image.fromarray(lines(seed=seed)) for seed in (0, 1)]
    theirs = asked(pipe, image=pictures, width=64, height=64, controlnet_conditioning_scale=[0.5, 0.9])
    units = [
        (ControlUnit(kind="canny", weight=0.5), lines(seed=0)),
        (ControlUnit(kind="scribble", weight=0.9), lines(seed=1)),
    ]
    close(steered(runner, *units), theirs)


def test_picture_to_picture() -> None:
    runner = runner_of()
    source = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    pipe = reference(StableDiffusionControlNetImg2ImgPipeline, runner, {}, controlnet=net("canny"))
    theirs = asked(
        pipe, image=source, control_image=Image.fromarray(lines()), strength=0.7, controlnet_conditioning_scale=1.0
    )
    ours = steered(runner, (ControlUnit(kind="canny"), lines()), source=source, steps=3, strength=0.7)
    close(ours, theirs)


def test_sdxl() -> None:
    runner = runner_of(family="sdxl")
    pipe = reference(StableDiffusionXLControlNetPipeline, runner, {"family": "sdxl"}, controlnet=net("xl"))
    theirs = asked(pipe, image=Image.fromarray(lines()), width=64, height=64, controlnet_conditioning_scale=0.8)
    close(steered(runner, (ControlUnit(kind="canny", weight=0.8), lines())), theirs)


def test_an_adapter() -> None:
    runner = runner_of()
    pipe = reference(
        StableDiffusionAdapterPipeline, runner, {}, adapter=T2IAdapter.from_pretrained(networks()["adapter"])
    )
    theirs = asked(pipe, image=Image.fromarray(lines()), width=64, height=64, adapter_conditioning_scale=0.6)
    ours = steered(runner, (ControlUnit(kind="color", weight=0.6), lines()))
    close(ours, theirs)
    assert (ours - steered(runner)).abs().max() > 0.01
