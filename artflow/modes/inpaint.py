"""Inpaint: the painted part is made anew; outside of it and its feather not a byte changes."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from artflow.engine.job import Made, Order
from artflow.engine.params import MAX_SEED
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplerFlight, make_sampler
from artflow.images import Picture, Size
from artflow.modes.masks import (
    Bounds,
    Mask,
    around,
    check_mask,
    composed,
    extent_for,
    feathered,
    healed,
    resized,
    surroundings,
    whole,
)
from artflow.modes.text import JobParams
from artflow.modes.work import Run

Fill = Literal["original", "blur", "noise", "empty"]


class PaintParams(JobParams):
    """What may be asked wherever a part of a picture is made anew."""

    strength: float = Field(1.0, ge=0, le=1, title="Strength", description="0 keeps what is there, 1 starts anew")
    fill: Fill = Field("original", title="Start from", description="what the new part holds before")


class InpaintParams(PaintParams):
    """What may be asked of inpaint."""

    feather: int = Field(8, ge=0, le=256, title="Feather", description="pixels over which the edge is soft")
    only_masked: bool = Field(False, title="Only the painted part", description="at the model's full size")
    padding: int = Field(32, ge=0, le=1024, title="Padding", description="pixels of context around it")


@dataclass(frozen=True)
class Inpainting:
    """One picture to be worked on: where, and at which size the model is shown it."""

    original: Picture
    mask: Mask
    area: Bounds
    extent: Size
    feather: int

    def finish(self, made: Picture) -> Picture:
        """The original with what the model made in its place. ``made`` has the size of ``extent``."""
        before, mask = self.area.cut(self.original), self.area.cut(self.mask)
        made = healed(before, resized(made, self.area.size), mask, max(self.feather, 4))
        result = self.original.copy()
        self.area.cut(result)[:] = composed(before, made, feathered(mask, self.feather))
        return result


def plan(picture: Picture, mask: Mask, params: InpaintParams, runner: Runner) -> Inpainting:
    """Where to work and at which size.

    Raises:
        ArtflowError: ``empty_mask``, ``bad_mask``.
    """
    check_mask(mask, picture)
    spec = runner.model.spec
    native = Size(spec.width, spec.height)
    area = around(mask, params.padding + params.feather, native) if params.only_masked else whole(picture)
    extent = extent_for(area.size, native, runner.model.vae_scale)
    return Inpainting(picture, mask, area, extent, params.feather)


def make(picture: Picture, mask: Mask, params: InpaintParams, run: Run) -> list[Made]:
    """The picture with what the mask covers made anew.

    Raises:
        ArtflowError: ``empty_mask``, ``bad_mask``, or what went wrong on the way.
    """
    planned = plan(picture, mask, params, run.runner)
    made = run([order("inpaint", planned, params, run.runner)])
    return [replace(m, picture=planned.finish(m.picture)) for m in made]


def order(mode: str, work: Inpainting, params: PaintParams, runner: Runner) -> Order:
    """The picture of one inpainting or pass of outpaint; it goes through `Inpainting.finish`."""
    seed = secrets.randbelow(MAX_SEED + 1) if params.seed == -1 else params.seed
    mask = resized(work.area.cut(work.mask), work.extent)
    shown = filled(resized(work.area.cut(work.original), work.extent), mask, params.fill, seed)

    def begin(runner: Runner) -> SamplerFlight:
        hole = latent_mask(mask, runner)
        masked = None
        if runner.model.inpaints:
            grey = np.where((mask > 127)[..., None], np.uint8(127), shown)
            masked = runner.encode([grey])[0]
        return SamplerFlight(
            make_sampler(params.sampler, runner.model.scheduler_config),
            **params.for_sampler(runner, work.extent, seed),
            source=runner.encode([shown])[0],
            strength=params.strength,
            mask=hole,
            masked=masked,
        )

    recipe = params.recipe(mode, runner, seed) | {"width": work.extent.width, "height": work.extent.height}
    return Order(recipe, begin)


def latent_mask(mask: Mask, runner: Runner) -> torch.Tensor:
    """The mask at the latent's size: float32 of shape (height, width), 1 where any painted pixel falls."""
    scale = runner.model.vae_scale
    pixels = torch.from_numpy((mask > 127).astype(np.float32))[None, None]
    return torch.nn.functional.max_pool2d(pixels, scale)[0, 0].to(runner.model.device)


def filled(picture: Picture, mask: Mask, fill: Fill, seed: int) -> Picture:
    """The picture as the model first sees it: the painted part holds what ``fill`` says."""
    hole = (mask > 127)[..., None]
    if fill == "blur":
        return surroundings(picture, mask, radius=max(picture.shape) / 32)
    if fill == "noise":
        noise = np.random.default_rng(seed).integers(0, 256, picture.shape, np.uint8)
        return np.where(hole, noise, picture)
    if fill == "empty":
        return np.where(hole, np.uint8(127), picture)
    return picture
