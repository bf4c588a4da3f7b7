"""One picture on its way through its steps: a *flight* offers the rows of its current step and takes the answers.

Live flights follow StreamDiffusion's arithmetic (2312.12491): consistency steps with residual guidance. A session
that pipelines has one flight a step in the air; one that does not has a single flight at a time. Either way a
flight needs nothing but its own state, which is what lets rows of many people share one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from artflow.engine.conditioning import Conditioning
from artflow.engine.frame import Frame
from artflow.engine.params import CfgType
from artflow.engine.schedule import Schedule
from artflow.engine.upload import upload
from artflow.images import Size

# Below this alpha (zero terminal SNR) a noisy latent holds no picture to compare the residual noise with.
BLIND_ALPHA = 1e-3
TINIEST_ALPHA = 2**-12  # in its place where it is zero and has to divide, as diffusers has it


@dataclass(frozen=True)
class Row:
    """One evaluation of the denoiser: a latent of shape (channels, height, width), float32."""

    latent: torch.Tensor
    timestep: float
    conditioning: Conditioning
    size: Size
    guidance: float = 1.0  # read only by models distilled with a guidance embedding


@dataclass(frozen=True)
class Plan:
    """What the steps of a live picture need; made when parameters change, shared by the frames until the next.

    ``noise`` is float32 of shape (steps, channels, height, width).
    """

    schedule: Schedule
    noise: torch.Tensor
    positive: Conditioning
    negative: Conditioning
    size: Size
    prediction_type: str
    cfg_type: CfgType = "none"
    guidance: float = 1.0
    delta: float = 1.0

    @property
    def guided(self) -> bool:
        """Whether guidance does anything: at 1.0 every type equals none."""
        return self.cfg_type != "none" and self.guidance > 1

    @property
    def residual(self) -> bool:
        """Whether guidance comes from the stock noise that travels with the flight."""
        return self.guided and self.cfg_type in ("self", "initialize")


@dataclass(frozen=True)
class Known:
    """What stays of a picture with a hole: ``source``, its clean latent of shape (channels, height, width), where
    ``mask``, of shape (height, width), is 0 and not 1.

    ``masked`` is the latent of the picture without what is in the hole, for UNets that are shown it; they need no help
    to keep the rest. All are float32.
    """

    source: torch.Tensor
    mask: torch.Tensor
    masked: torch.Tensor | None = None

    def kept(self, denoised: torch.Tensor) -> torch.Tensor:
        """A step's clean latent with the source outside the hole: noised again, it has the source's noise there."""
        return denoised if self.masked is not None else torch.lerp(self.source, denoised, self.mask)

    def shown(self, latent: torch.Tensor) -> torch.Tensor:
        """A noisy latent as the UNet is shown it."""
        return latent if self.masked is None else torch.cat([latent, self.mask[None], self.masked])


@dataclass(frozen=True)
class Flight:
    """A live picture at one of its steps. ``latent`` and ``stock`` are float32 of shape (channels, height, width)."""

    plan: Plan
    latent: torch.Tensor
    stock: torch.Tensor
    recipe: dict[str, Any]
    frame: Frame
    step: int = 0
    known: Known | None = None

    @classmethod
    def start(
        cls, plan: Plan, source: torch.Tensor | None, recipe: dict, frame: Frame, known: Known | None = None
    ) -> Flight:
        """Noise a clean latent (img2img), or begin from noise alone (``source`` None).

        The stock noise begins as the noise, also of single steps. There the reference goes on from what the last frame
        left, which grows from frame to frame without end and makes a picture depend on all before it.
        """
        noise = plan.noise[0]
        alpha, sigma = plan.schedule.alpha[0], plan.schedule.sigma[0]
        latent = noise if source is None else alpha * source + sigma * noise
        return cls(plan, latent, noise, recipe, frame, known=known)

    @property
    def last_step(self) -> bool:
        """Whether the next answer finishes the picture."""
        return self.step == len(self.plan.schedule) - 1

    @property
    def needs_negative(self) -> bool:
        """Whether this step also asks for the unconditional row."""
        plan = self.plan
        return plan.guided and (plan.cfg_type == "full" or (plan.cfg_type == "initialize" and self.step == 0))

    def rows(self) -> list[Row]:
        """The row of this step, and the unconditional one where guidance needs it."""
        plan = self.plan
        time = float(plan.schedule.timesteps[self.step])
        latent = self.latent if self.known is None else self.known.shown(self.latent)
        row = Row(latent, time, plan.positive, plan.size, plan.guidance)
        return [row, replace(row, conditioning=plan.negative)] if self.needs_negative else [row]


@dataclass(frozen=True)
class Step:
    """A flight's answer: the next state, or for the last step the finished latent; and the stock it leaves."""

    flight: Flight
    finished: torch.Tensor | None


def to_clean(kind: str, noisy: torch.Tensor, answer: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor):
    """The clean latent that an answer of prediction type ``kind`` stands for (2202.00512, appendix D)."""
    if kind == "epsilon":
        return (noisy - sigma * answer) / alpha.clamp(min=TINIEST_ALPHA)
    if kind == "v_prediction":
        return alpha * noisy - sigma * answer
    return answer  # "sample"


def advance(flights: Sequence[Flight], answers: Sequence[torch.Tensor]) -> list[Step]:
    """One step of many flights of one model and latent shape, as one arithmetic over all of them.

    ``answers[i]`` holds the model's raw outputs for ``flights[i].rows()``: shape (rows, channels, height, width).
    Guidance is formed on clean latents, which equals guidance on the noise and also holds at zero terminal SNR.
    """
    kind = flights[0].plan.prediction_type
    noisy = torch.stack([f.latent for f in flights])
    alpha, sigma, c_skip, c_out, alpha_next, sigma_next, push = _coefficients(flights, noisy)
    clean = to_clean(kind, noisy, torch.stack([a[0] for a in answers]), alpha, sigma)

    stock = base = None
    if any(f.plan.guided for f in flights):
        stock = torch.stack([f.stock for f in flights])
        free = clean.clone()
        for i, flight in enumerate(flights):
            plan = flight.plan
            blind = plan.schedule.alpha[flight.step] < BLIND_ALPHA
            if flight.needs_negative:
                free[i] = to_clean(kind, noisy[i], answers[i][1], alpha[i], sigma[i])
                if plan.cfg_type == "initialize":
                    stock[i] = (noisy[i] - alpha[i] * free[i]) / sigma[i]
            if plan.residual and not blind:
                free[i] = (noisy[i] - sigma[i] * plan.delta * stock[i]) / alpha[i]
        clean = clean + push * (clean - free)
        base = torch.where(alpha < BLIND_ALPHA, clean, (noisy - sigma * stock) / alpha.clamp(min=BLIND_ALPHA))

    denoised = c_out * clean + c_skip * noisy
    for i, flight in enumerate(flights):
        if flight.known is not None:
            denoised[i] = flight.known.kept(denoised[i])
    noise = torch.stack([f.plan.noise[(f.step + 1) % len(f.plan.schedule)] for f in flights])
    ahead = alpha_next * denoised + sigma_next * noise
    if stock is not None:
        # The residual noise of the next step: what separates the picture from the virtual one (2312.12491, eq. 7).
        stock = noise + (c_out * (clean - base) + c_skip * sigma * stock) * alpha_next / sigma_next

    steps = []
    for i, flight in enumerate(flights):
        left = stock[i] if stock is not None and flight.plan.guided else flight.stock
        after = replace(flight, latent=ahead[i], stock=left, step=flight.step + 1)
        steps.append(Step(after, denoised[i] if flight.last_step else None))
    return steps


def _coefficients(flights: Sequence[Flight], like: torch.Tensor) -> list[torch.Tensor]:
    """alpha, sigma, c_skip, c_out, the next alpha and sigma (1 after the last), guidance - 1: each (rows, 1, 1, 1)."""
    table = []
    for flight in flights:
        s, i, plan = flight.plan.schedule, flight.step, flight.plan
        ahead = (1.0, 1.0) if flight.last_step else (s.alpha[i + 1], s.sigma[i + 1])
        push = plan.guidance - 1 if plan.guided else 0.0
        table.append((s.alpha[i], s.sigma[i], s.c_skip[i], s.c_out[i], *ahead, push))
    columns = upload(torch.tensor(table, dtype=like.dtype), like.device)
    return [column.view(-1, 1, 1, 1) for column in columns.unbind(1)]
