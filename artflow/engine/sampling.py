"""Flights of jobs: one picture made by a sampler of `diffusers`, a row (two with guidance) at a time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from artflow.engine.conditioning import Conditioning
from artflow.engine.flight import Row
from artflow.engine.image_spec import ImageSpec, NoiseRegion, check_sampler
from artflow.errors import ArtflowError
from artflow.images import Size

if TYPE_CHECKING:
    from artflow.engine.runner import Runner

SAMPLERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "Euler": (EulerDiscreteScheduler, {}),
    "Euler a": (EulerAncestralDiscreteScheduler, {}),
    "DPM++ 2M Karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "UniPC": (UniPCMultistepScheduler, {}),
    "DDIM": (DDIMScheduler, {}),
    "LCM": (LCMScheduler, {}),
}


def make_sampler(name: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """A fresh sampler over the noise schedule of a model's scheduler config.

    Raises:
        ArtflowError: ``unknown_sampler``, naming those there are.
    """
    check_sampler(name)
    kind, changes = SAMPLERS[name]
    sampler = kind.from_config(dict(config), **changes)
    if sampler.alphas_cumprod[-1] == 0:
        # Zero terminal SNR in trained betas: the value that diffusers sets under rescale_betas_zero_snr, so that
        # samplers that divide by alpha stay finite.
        sampler.alphas_cumprod[-1] = 2**-24
    return sampler


def most_steps(sampler: SchedulerMixin) -> int:
    """How many steps a sampler can make: those of its training, or of the grid that it was distilled on."""
    return getattr(sampler.config, "original_inference_steps", None) or sampler.config.num_train_timesteps


def steps_from(sampler: SchedulerMixin, steps: int, strength: float) -> int:
    """How long a schedule is of which ``steps`` are run at this ``strength``, above 0 (as far as there are so many).

    diffusers' img2img leaves out the first part of the steps that are asked for. So that few-step models run all of
    them, and begin where they should, the schedule is made that much longer.
    """
    return max(steps, min(math.ceil(steps / max(strength, 1e-6)), most_steps(sampler)))


class SamplerFlight:
    """A picture between two steps of its sampler.

    With ``source`` (a clean latent) the first part of the steps is left out, as diffusers' img2img does: ``strength``
    0 to 1 is the share that is run. With ``mask`` too (shape (height, width) of the latent, 1 where to paint) only
    that part is made anew: elsewhere the noised source takes its place after each step, or a model with an inpaint
    UNet is shown the mask and ``masked``, the latent of the picture without what is under it. ``noise`` of shape
    (1, channels, height, width) takes the place of the seed's own.

    ``latent`` is float32 of shape (1, channels, height, width); ``preview`` is what the last step thinks the finished
    one will be, where its sampler says so.

    Raises:
        ArtflowError: ``bad_parameter`` for more steps than the sampler can make.
    """

    def __init__(
        self,
        sampler: SchedulerMixin,
        *,
        steps: int,
        shape: tuple[int, int, int],
        seed: int,
        positive: Conditioning,
        negative: Conditioning,
        guidance: float,
        embedded_guidance: bool,
        size: Size,
        device: torch.device,
        source: torch.Tensor | None = None,
        strength: float = 1.0,
        mask: torch.Tensor | None = None,
        masked: torch.Tensor | None = None,
        noise: torch.Tensor | None = None,
    ) -> None:
        if steps > most_steps(sampler):
            name = type(sampler).__name__.removesuffix("Scheduler")
            sentence = f"steps cannot be {steps}: {name} makes at most {most_steps(sampler)}."
            raise ArtflowError("bad_parameter", sentence)
        self._sampler = sampler
        self._positive, self._negative, self._size = positive, negative, size
        self._guidance = guidance
        self._guided = guidance > 1 and not embedded_guidance
        # The generator stays on the CPU, so that a seed means the same picture on every device.
        self._generator = torch.Generator().manual_seed(seed)
        if noise is None:
            noise = torch.randn((1, *shape), generator=self._generator)
        noise = noise.to(device)
        sampler.set_timesteps(steps)
        self._times = sampler.timesteps
        takes_generator = "generator" in inspect.signature(sampler.step).parameters
        self._extra = {"generator": self._generator} if takes_generator else {}
        self._source, self._noise, self._mask, self._masked = source, noise, mask, masked
        whole = source is None or (mask is not None and strength == 1)
        first = 0 if whole else max(steps - max(min(int(steps * strength), steps), 1), 0) * sampler.order
        self._times = self._times[first:]
        if hasattr(sampler, "set_begin_index"):  # else it looks its step up, which for `add_noise` waits for the device
            sampler.set_begin_index(first)
        if source is None or whole:
            self.latent = noise * sampler.init_noise_sigma
        else:
            self.latent = sampler.add_noise(source[None], noise, self._times[:1])
        self.preview: torch.Tensor | None = None
        self.step = 0
        self._rows: list[Row] | None = None

    @property
    def steps(self) -> int:
        """How many steps there are in all."""
        return len(self._times)

    @property
    def done(self) -> bool:
        """Whether ``latent`` is the finished one, of shape (1, channels, height, width)."""
        return self.step == self.steps

    def rows(self) -> list[Row]:
        """The row of this step, and the unconditional one under guidance."""
        if self._rows is None:  # they are asked for twice a step: who may share the call, and then for it
            self._rows = self._made_rows()
        return self._rows

    def _made_rows(self) -> list[Row]:
        time = self._times[self.step]
        latent = self._sampler.scale_model_input(self.latent, time)[0]
        if self._mask is not None and self._masked is not None:
            latent = torch.cat([latent, self._mask[None], self._masked])
        row = Row(latent, float(time), self._positive, self._size, self._guidance)
        if not self._guided:
            return [row]
        return [row, Row(latent, float(time), self._negative, self._size, self._guidance)]

    def advance(self, answer: torch.Tensor) -> None:
        """Take the model's raw outputs for ``rows()``, of shape (rows, channels, height, width)."""
        output = answer[:1]
        if self._guided:
            output = answer[1:] + self._guidance * (answer[:1] - answer[1:])
        result = self._sampler.step(output, self._times[self.step], self.latent, **self._extra)
        self.latent = result.prev_sample
        self.preview = self._expected(result)
        self.step += 1
        self._rows = None
        if self._mask is not None and self._masked is None:
            self.latent = torch.lerp(self._known(), self.latent, self._mask)

    def _expected(self, result: Any) -> torch.Tensor:
        """The picture that the sampler is up to, as a latent: each of `SAMPLERS` keeps it under another name."""
        for name in ("pred_original_sample", "denoised"):
            if (latent := getattr(result, name, None)) is not None:
                return latent
        return self._sampler.model_outputs[-1]  # of the multistep samplers, which predict the picture itself

    def _known(self) -> torch.Tensor:
        """The source at the noise of the coming step; clean after the last."""
        assert self._source is not None
        if self.done:
            return self._source[None]
        return self._sampler.add_noise(self._source[None], self._noise, self._times[self.step : self.step + 1])


@torch.inference_mode()
def begin(spec: ImageSpec, runner: Runner) -> SamplerFlight:
    """The picture of a spec before its first step.

    Raises:
        ArtflowError: ``unknown_sampler``, ``bad_parameter`` for more steps than the sampler can make.
    """
    model, shape = runner.model, runner.latent_shape(spec.size)
    sampler = make_sampler(spec.sampler, model.scheduler_config)
    mask = None if spec.mask is None else runner.latent_mask(spec.mask, spec.size)
    masked_image = spec.masked_image if mask is not None and model.inpaints else None
    source, masked = (None if p is None else runner.encode([p])[0] for p in (spec.source, masked_image))
    return SamplerFlight(
        sampler,
        steps=steps_from(sampler, spec.steps, spec.strength),
        shape=shape,
        seed=spec.seed,
        positive=runner.prompts.encode(spec.prompt),
        negative=runner.prompts.encode(spec.negative_prompt, negative=True),
        guidance=spec.guidance,
        embedded_guidance=model.time_cond_width is not None,
        size=spec.size,
        device=model.device,
        source=source,
        strength=spec.strength,
        mask=mask,
        masked=masked,
        noise=None if spec.noise_region is None else _region_of_noise(spec.seed, spec.noise_region, shape),
    )


def _region_of_noise(seed: int, region: NoiseRegion, shape: tuple[int, int, int]) -> torch.Tensor:
    """The noise of a picture of this latent shape, cut out of a larger field: (1, channels, height, width)."""
    channels, height, width = shape
    field = _noise_field(seed, (1, channels, region.height, region.width))
    return field[..., region.row : region.row + height, region.column : region.column + width]


@lru_cache(maxsize=2)  # all tiles of a picture are cut out of one field
def _noise_field(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
