"""Inpaint by latent blending, and with a 9-channel UNet, against diffusers' pipeline: same weights, seed and mask."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from artflow.engine.engine import Engine
from artflow.engine.runner import Runner
from artflow.engine.sampling import make_sampler
from artflow.modes import inpaint
from artflow.modes.inpaint import InpaintParams
from tests.support.jobs import Asked
from tests.support.models import tiny_folder, tiny_model

SIDE = 64


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A picture, and a mask that falls on whole latents."""
    picture = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[16:48, 24:56] = 255
    return picture, mask


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("sampler", ["Euler", "DDIM", "LCM"])
def test_equals_diffusers(sampler: str, strength: float, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, mask = scene()
    options = {"inpaint": True} if channels == 9 else {}
    params = InpaintParams(prompt="a fox", steps=5, guidance_scale=3.0, sampler=sampler, seed=11, strength=strength)
    runner = Runner(tiny_model(**options))
    assert runner.model.inpaints == (channels == 9)
    seen: list[torch.Tensor] = []
    decode = runner.decode
    monkeypatch.setattr(runner, "decode", lambda latents: seen.append(latents.clone()) or decode(latents))
    work = inpaint.plan_inpaint(picture, mask, params, runner.model.info)
    engine = Engine()
    job = Asked(runner, [inpaint.image_spec("inpaint", work, params, runner.model.info)])
    engine.add(job)
    job.wait()
    engine.close()

    pipe = StableDiffusionInpaintPipeline.from_pretrained(
        tiny_folder(**options), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.scheduler = make_sampler(sampler, runner.model.scheduler_config)
    # Inpaint UNets are shown what is under the mask as grey, 127 of 255 here and exactly half there.
    unseen = {"masked_image_latents": runner.encode([work.masked_image])} if channels == 9 else {}
    expected = pipe(
        prompt="a fox", image=Image.fromarray(picture), mask_image=Image.fromarray(mask), height=SIDE, width=SIDE,
        num_inference_steps=math.ceil(5 / strength), guidance_scale=3.0, strength=strength, output_type="latent",
        generator=torch.Generator().manual_seed(11), **unseen,
    ).images  # fmt: skip
    torch.testing.assert_close(seen[-1], expected, atol=1e-4, rtol=1e-4)
