"""The steps of a job's pictures: each made by a sampler of `diffusers`, a row (two with guidance) at a time."""

from __future__ import annotations

import inspect
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

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

from artflow.engine.conditioning import Tensors
from artflow.engine.control_unit import ControlPicture
from artflow.engine.image_spec import ImageSpec, check_sampler
from artflow.engine.noise import NoiseSource
from artflow.engine.request import Row, compat_of
from artflow.engine.runner import Runner
from artflow.engine.transfer import DrawsFrom, upload
from artflow.errors import ArtflowError
from artflow.models.extras import NONE, Extras
from artflow.prompts.loras import at

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


@dataclass(frozen=True)
class SamplingPlan:
    """What the steps of a job's picture need: its spec, and the inputs of its rows."""

    spec: ImageSpec
    latent_shape: tuple[int, int, int]
    positive: Tensors
    negative: Tensors
    guided: bool
    """Whether each step asks for the unconditional row, too."""

    def extras(self, progress: float) -> Extras:
        """Those of a step, of which so much of the steps (0 to below 1) lies before."""
        return Extras(loras=at(self.spec.loras, progress)) if self.spec.loras else NONE

    @classmethod
    def of(cls, spec: ImageSpec, runner: Runner, positive: Tensors, negative: Tensors) -> SamplingPlan:
        """The plan of a spec whose prompts have been prepared."""
        plan = cls(
            spec,
            runner.model.latent_shape(spec.size),
            runner.inputs(positive, spec.size, spec.guidance),
            runner.inputs(negative, spec.size, spec.guidance),
            spec.guidance > 1 and not runner.model.single_row,
        )
        runner.model.hold(plan, (use.name for use in spec.loras))
        return plan

    @cached_property
    def compat(self) -> Hashable:
        """See `Plan`."""
        return compat_of(self.latent_shape, self.positive)

    def row_count(self, step: int) -> int:
        """See `Plan`."""
        return 2 if self.guided else 1


class SamplingState:
    """A job's picture between two steps of its sampler.

    ``sources`` are the latents of the spec's source and masked image, as far as it has them, in one batch. Where there
    is a mask, only that part is replaced: elsewhere the noised source takes its place after each step, or a model with
    an inpaint UNet is shown the mask and the masked image.

    ``controls`` are those of the spec, at its size.

    ``latent`` is float32 of shape (1, channels, height, width); ``preview`` is what the last step thinks the finished
    one will be, where its sampler says so.

    Raises:
        ArtflowError: ``bad_parameter`` for more steps than the sampler can make.
    """

    batched: ClassVar[bool] = False  # samplers keep a state of their own

    def __init__(
        self, plan: SamplingPlan, runner: Runner, sources: torch.Tensor, controls: Sequence[ControlPicture] = ()
    ) -> None:
        spec, device = plan.spec, runner.model.device
        asked = {"prediction_type": runner.model.prediction_type_for(spec.prediction_type)}
        self.plan = plan
        sampler = self._sampler = make_sampler(spec.sampler, runner.model.scheduler_config | asked)
        source = sources[0] if len(sources) else None
        steps = steps_from(sampler, spec.steps, spec.strength)
        if steps > most_steps(sampler):
            name = type(sampler).__name__.removesuffix("Scheduler")
            sentence = f"steps cannot be {steps}: {name} makes at most {most_steps(sampler)}."
            raise ArtflowError("bad_parameter", sentence)
        noise = NoiseSource(spec.seed, spec.noise_region)
        self._draw = noise.draw
        self._noise = upload(noise.draw((1, *plan.latent_shape)), device)
        sampler.set_timesteps(steps)
        takes_generator = "generator" in inspect.signature(sampler.step).parameters
        self._extra = {"generator": noise.generator} if takes_generator else {}
        mask = None if spec.mask is None else runner.latent_mask(spec.mask, spec.size)
        self._inputs: Tensors = {}
        self._keep: tuple[torch.Tensor, torch.Tensor] | None = None  # the source, and where it is replaced
        if mask is not None and len(sources) > 1:
            self._inputs = {"inpaint": torch.cat([mask[None], sources[1]])}
        else:
            self._inputs = runner.nothing_kept(spec.size)
            self._keep = None if mask is None or source is None else (source[None], mask)
        first = 0
        begins_late = source is not None and (mask is None or spec.strength < 1)
        if begins_late:
            first = max(steps - max(min(int(steps * spec.strength), steps), 1), 0) * sampler.order
        self._times = sampler.timesteps[first:]
        if hasattr(sampler, "set_begin_index"):  # else it looks the timestep up, and a GPU is waited for
            sampler.set_begin_index(first)
        if begins_late and source is not None:
            self.latent = self._noised(source[None], 0)
        else:
            self.latent = self._noise * sampler.init_noise_sigma
        self._controls = runner.controls.at_steps(controls, len(self._times))
        self._device_times = upload(self._times.to(torch.float32), device)
        self.preview: torch.Tensor | None = None
        self.step = 0

    @property
    def steps(self) -> int:
        """How many steps there are in all."""
        return len(self._times)

    @property
    def done(self) -> bool:
        """Whether ``latent`` is the finished one."""
        return self.step == self.steps

    def rows(self) -> list[Row]:
        """The row of this step, and the unconditional one under guidance."""
        plan, time = self.plan, self._device_times[self.step]
        latent = self._sampler.scale_model_input(self.latent, self._times[self.step])[0]
        extras = plan.extras(self.step / self.steps)
        if self._controls:
            extras = extras._replace(controls=self._controls[self.step])
        rows = [Row(latent, time, {**plan.positive, **self._inputs}, extras)]
        if plan.guided:
            rows.append(Row(latent, time, {**plan.negative, **self._inputs}, extras.of_negative()))
        return rows

    @staticmethod
    def advance(states: Sequence[SamplingState], outputs: Sequence[torch.Tensor]) -> None:
        """See `State`."""
        for state, output in zip(states, outputs, strict=True):
            state._advance(output)

    def _advance(self, output: torch.Tensor) -> None:
        if self.plan.guided:
            output = output[1:] + self.plan.spec.guidance * (output[:1] - output[1:])
        with DrawsFrom(self._draw, self.latent.device):
            result = self._sampler.step(output, self._times[self.step], self.latent, **self._extra)
        self.latent = result.prev_sample
        self.preview = self._expected(result)
        self.step += 1
        if self._keep is not None:
            source, mask = self._keep
            if not self.done:
                source = self._noised(source, self.step)
            self.latent = torch.lerp(source, self.latent, mask)

    def _noised(self, source: torch.Tensor, step: int) -> torch.Tensor:
        """The source with as much noise as a picture has before this step.

        Every sampler adds so much of the one to so much of the other. It is asked on the CPU how much: given tensors of
        a GPU, it would copy its tables there at each step, and wait.
        """
        times = self._times[step : step + 1].expand(2)
        keeps, adds = self._sampler.add_noise(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), times).tolist()
        return source * keeps + self._noise * adds

    def _expected(self, result: Any) -> torch.Tensor:
        """The picture that the sampler is up to, as a latent: each of `SAMPLERS` keeps it under another name."""
        for name in ("pred_original_sample", "denoised"):
            if (latent := getattr(result, name, None)) is not None:
                return latent
        return self._sampler.model_outputs[-1]  # of the multistep samplers, which predict the picture itself
