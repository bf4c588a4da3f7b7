"""The steps of live pictures: consistency steps with residual guidance, after StreamDiffusion (2312.12491).

A session that pipelines has one request at each of its steps; one that does not has a single request at a time. Either
way a picture needs nothing but its own state, which is what lets rows of many people share one call.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from artflow.engine.noise_schedule import Schedule
from artflow.engine.params import CfgType
from artflow.engine.request import Row, compat_of
from artflow.images import Size
from artflow.models.extras import NONE, Control, Extras

Tensors = Mapping[str, torch.Tensor]

# Below this alpha (zero terminal SNR) a noisy latent holds no picture to compare the residual noise with.
ZERO_SNR_ALPHA = 1e-3
TINIEST_ALPHA = 2**-12  # in its place where it is zero and has to divide, as diffusers has it


@dataclass(frozen=True)
class StreamPlan:
    """What the steps of a live picture need; made when parameters change, shared by the frames until the next.

    ``noise`` is float32 of shape (steps, channels, height, width), on the model's device. ``positive`` and ``negative``
    hold the inputs of the rows of each step.
    """

    schedule: Schedule
    noise: torch.Tensor
    positive: Sequence[Tensors]
    negative: Sequence[Tensors]
    size: Size
    prediction_type: str
    cfg_type: CfgType = "none"
    guidance: float = 1.0
    delta: float = 1.0
    extras: Sequence[Extras] = ()
    """Those of each step; empty: none at all."""

    @property
    def guided(self) -> bool:
        """Whether guidance does anything: at 1.0 every type equals none."""
        return self.cfg_type != "none" and self.guidance > 1

    @cached_property
    def compat(self) -> Hashable:
        """See `Plan`."""
        return compat_of(self.noise.shape[1:], self.positive[0])

    def row_count(self, step: int) -> int:
        """See `Plan`."""
        return 2 if self.needs_negative(step) else 1

    def needs_negative(self, step: int) -> bool:
        """Whether this step asks for the unconditional row."""
        return self.guided and (self.cfg_type == "full" or (self.cfg_type == "initialize" and step == 0))

    @cached_property
    def table(self) -> torch.Tensor:
        """A row of numbers for each step, on the device: what `StreamState.advance` unpacks, and the timestep."""
        s, count = self.schedule, len(self.schedule)
        residual = self.guided and self.cfg_type in ("self", "initialize")
        rows = [
            (
                s.alpha[i], s.sigma[i], s.c_skip[i], s.c_out[i],
                s.alpha[i + 1] if i + 1 < count else 1.0, s.sigma[i + 1] if i + 1 < count else 1.0,
                self.guidance - 1 if self.guided else 0.0, self.delta,
                residual and s.alpha[i] >= ZERO_SNR_ALPHA,
                self.guided and self.cfg_type == "initialize" and i == 0,
                s.timesteps[i],
            )
            for i in range(count)
        ]  # fmt: skip
        return torch.tensor(rows, dtype=torch.float32).to(self.noise.device)


@dataclass(frozen=True)
class InpaintConditioning:
    """What stays of a picture with a region that is replaced: ``source``, its clean latent of shape (channels, height,
    width), where ``mask``, of shape (height, width), is 0 and not 1.

    ``masked_image`` is the latent of the picture without what is in the region, for models that are shown it; they need
    no help to keep the rest. All are float32.
    """

    source: torch.Tensor
    mask: torch.Tensor
    masked_image: torch.Tensor | None = None

    def inputs(self) -> dict[str, torch.Tensor]:
        """The row input of models that are shown it: (1 + channels, height, width)."""
        return {} if self.masked_image is None else {"inpaint": torch.cat([self.mask[None], self.masked_image])}


class StreamState:
    """A live picture at one of its steps. ``latent`` and ``stock_noise`` are float32, (channels, height, width).

    ``finished`` is the clean latent, once the last step has been taken.
    """

    batched: ClassVar[bool] = True

    def __init__(
        self,
        plan: StreamPlan,
        latent: torch.Tensor,
        stock_noise: torch.Tensor,
        inpaint: InpaintConditioning | None = None,
    ) -> None:
        self.plan, self.latent, self.stock_noise, self.inpaint = plan, latent, stock_noise, inpaint
        self.inputs: Tensors = {} if inpaint is None else inpaint.inputs()  # of this picture alone, beside the plan's
        self.controls: Sequence[tuple[Control, ...]] = ()  # of this picture, for each step; empty: none at all
        self.step = 0
        self.finished: torch.Tensor | None = None

    @staticmethod
    def start(
        plans: Sequence[StreamPlan],
        sources: Sequence[torch.Tensor | None],
        inpaints: Sequence[InpaintConditioning | None],
    ) -> list[StreamState]:
        """Noise clean latents (img2img), or begin from noise alone (source None): all of one shape, at once.

        The stock noise begins as the noise, also of single steps. There the reference goes on from what the last frame
        left, which grows from frame to frame without end and makes a picture depend on all before it.
        """
        noise = torch.stack([plan.noise[0] for plan in plans])
        latents = list(noise)
        if any(source is not None for source in sources):
            table = torch.stack([plan.table[0] for plan in plans])
            alpha, sigma = (table[:, i].view(-1, 1, 1, 1) for i in (0, 1))
            known = torch.stack([noise[i] if source is None else source for i, source in enumerate(sources)])
            mixed = alpha * known + sigma * noise
            latents = [noise[i] if source is None else mixed[i] for i, source in enumerate(sources)]
        return [
            StreamState(plan, latents[i], noise[i], inpaint)
            for i, (plan, inpaint) in enumerate(zip(plans, inpaints, strict=True))
        ]

    @property
    def last_step(self) -> bool:
        """Whether the next step finishes the picture."""
        return self.step == len(self.plan.schedule) - 1

    def rows(self) -> list[Row]:
        """The row of this step, and the unconditional one where guidance needs it."""
        plan, step, more = self.plan, self.step, self.inputs
        extras = plan.extras[step] if plan.extras else NONE
        if self.controls:
            extras = extras._replace(controls=self.controls[step])
        wanted = [(plan.positive[step], extras)]
        if plan.needs_negative(step):
            wanted.append((plan.negative[step], extras.of_negative()))
        time = plan.table[step, -1]
        return [Row(self.latent, time, {**inputs, **more} if more else inputs, those) for inputs, those in wanted]

    @staticmethod
    def advance(states: Sequence[StreamState], outputs: Sequence[torch.Tensor]) -> None:
        """One step of many pictures of one model and latent shape, as one arithmetic over all of them.

        Guidance is formed on clean latents, which equals guidance on the noise and also holds at zero terminal SNR.
        """
        noisy = torch.stack([s.latent for s in states])
        columns = torch.stack([s.plan.table[s.step] for s in states])[:, :, None, None, None].unbind(1)
        alpha, sigma, c_skip, c_out, alpha_next, sigma_next, guidance_minus_one, delta = columns[:8]
        residual, initialize = (column > 0 for column in columns[8:10])
        clean = _clean(states, noisy, torch.stack([output[0] for output in outputs]), alpha, sigma)

        stock: torch.Tensor | None = None
        if any(s.plan.guided for s in states):
            stock = torch.stack([s.stock_noise for s in states])
            # Where there is no unconditional row, the last row is the only one, and guidance towards itself is none.
            uncond = _clean(states, noisy, torch.stack([output[-1] for output in outputs]), alpha, sigma)
            safe_alpha = alpha.clamp(min=ZERO_SNR_ALPHA)
            stock = torch.where(initialize, (noisy - alpha * uncond) / sigma, stock)
            uncond = torch.where(residual, (noisy - sigma * delta * stock) / safe_alpha, uncond)
            clean = clean + guidance_minus_one * (clean - uncond)
            virtual = torch.where(alpha < ZERO_SNR_ALPHA, clean, (noisy - sigma * stock) / safe_alpha)
            # The residual noise of the next step: what separates the picture from the virtual one (eq. 7).
            residue = c_out * (clean - virtual) + c_skip * sigma * stock

        denoised = c_out * clean + c_skip * noisy
        if any(s.inpaint is not None and s.inpaint.masked_image is None for s in states):
            denoised = _outside_kept(states, denoised)
        noise = torch.stack([s.plan.noise[(s.step + 1) % len(s.plan.schedule)] for s in states])
        ahead = alpha_next * denoised + sigma_next * noise
        if stock is not None:
            stock = noise + residue * alpha_next / sigma_next

        for i, state in enumerate(states):
            if state.last_step:
                state.finished = denoised[i]
            if stock is not None and state.plan.guided:
                state.stock_noise = stock[i]
            state.latent = ahead[i]
            state.step += 1


def _clean(states: Sequence[StreamState], *values: torch.Tensor) -> torch.Tensor:
    """`to_clean` for each state; in one go where their prediction type is the same, as it nearly always is."""
    kinds = [state.plan.prediction_type for state in states]
    if len(set(kinds)) == 1:
        return to_clean(kinds[0], *values)
    return torch.stack([to_clean(kind, *those) for kind, *those in zip(kinds, *values, strict=True)])


def to_clean(
    kind: str, noisy: torch.Tensor, output: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """The clean latent that an output of prediction type ``kind`` stands for (2202.00512, appendix D)."""
    if kind == "epsilon":
        return (noisy - sigma * output) / alpha.clamp(min=TINIEST_ALPHA)
    if kind == "v_prediction":
        return alpha * noisy - sigma * output
    return output  # "sample"


def _outside_kept(states: Sequence[StreamState], denoised: torch.Tensor) -> torch.Tensor:
    """Clean latents with their source outside of the region: noised again, it has the source's noise there."""
    kept = [s.inpaint if s.inpaint is not None and s.inpaint.masked_image is None else None for s in states]
    everywhere = torch.ones_like(denoised[0, 0])
    masks = torch.stack([everywhere if k is None else k.mask for k in kept])[:, None]
    sources = torch.stack([denoised[i] if k is None else k.source for i, k in enumerate(kept)])
    return torch.lerp(sources, denoised, masks)
