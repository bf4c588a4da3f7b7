"""Inpaint: replaces the masked part of a picture; outside of it, and of a feather that lies there, no byte changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from artflow.engine.image_spec import ImageSpec
from artflow.engine.job_request import GeneratedImage
from artflow.engine.params import random_seed
from artflow.images import Picture, Size, flattened, from_srgb, resized, to_srgb
from artflow.models.info import ModelInfo
from artflow.modes.control_maps import control_pictures
from artflow.modes.job_runner import JobRunner, shown
from artflow.modes.masks import (
    Bounds,
    Mask,
    MaskEdge,
    around,
    blur_reach,
    box,
    check_mask,
    composed,
    covering,
    extent_for,
    feather_outside,
    feathered,
    healed,
    surroundings,
    whole,
)
from artflow.modes.text import JobParams

Fill = Literal["original", "blur", "noise", "empty"]


class PaintParams(JobParams):
    """Parameters shared by inpaint and outpaint."""

    strength: float = Field(1.0, ge=0, le=1, title="Strength", description="0 keeps what is there, 1 replaces it")
    fill: Fill = Field("original", title="Masked content", description="what the masked part holds at the start")


class RegionParams(BaseModel):
    """Parameters of the region that the model works on, and of blending the result into the picture."""

    feather: int = Field(8, ge=0, le=256, title="Feather", description="pixels over which the edge is soft")
    mask_edge: MaskEdge = Field(
        "inwards", title="Mask edge", description="where it is soft; inwards: nothing changes outside of the mask"
    )
    only_masked: bool = Field(
        True, title="Only masked", description="work on the masked part alone, at the model's full size"
    )
    padding: int = Field(32, ge=0, le=1024, title="Padding", description="pixels of context around it")


class InpaintParams(RegionParams, PaintParams):
    """Parameters of inpaint."""


@dataclass(frozen=True)
class Inpainting:
    """A picture with its mask, the area that the model works on, and the size (``extent``) at which it does.

    The result is blended in over ``feather`` pixels at the ``mask_edge``. The picture stays in the colours of its
    ``profile`` (ICC; None: sRGB): only what the model is shown and makes is converted.
    """

    original: Picture
    mask: Mask
    area: Bounds
    extent: Size
    feather: int
    mask_edge: MaskEdge
    profile: bytes | None = None

    @cached_property
    def shown(self) -> Picture:
        """What the model is shown."""
        return to_srgb(resized(self.area.cut(self.original), self.extent), self.profile)

    @cached_property
    def shown_mask(self) -> Mask:
        """The mask of that."""
        return covering(self.area.cut(self.mask), self.extent)

    @property
    def masked_image(self) -> Picture:
        """What the model is shown with grey where the mask is, as inpaint UNets want it."""
        return filled(self.shown, self.shown_mask, "empty", seed=0)

    def composite(self, made: Picture) -> Picture:
        """The original with what was made in its place: ``made`` has any size, and the colours of the original."""
        result = self.original.copy()
        part, mask = self.area.cut(result), self.area.cut(self.mask)
        # Limited to the surroundings of the mask, since pictures are large and live this is done for every frame.
        reach = max(self.feather, 4)
        near = box(mask, self.feather + blur_reach(reach))
        before, mask = near.cut(part), near.cut(mask)
        made = healed(before, near.cut(resized(made, self.area.size)), mask, reach)
        before[:] = composed(before, made, feathered(mask, self.feather, self.mask_edge))
        return result


def plan_inpaint(
    picture: Picture,
    mask: Mask,
    params: RegionParams,
    model: ModelInfo,
    native: Size | None = None,
    profile: bytes | None = None,
) -> Inpainting:
    """Choose the area to work on and its size, whose longer side is that of ``native`` (default: the model's own).

    ``profile``: the ICC profile of the picture's colours; None is sRGB.

    Raises:
        ArtflowError: ``empty_mask``, ``bad_mask``.
    """
    check_mask(mask, picture)
    native = native or model.native_size
    padding = params.padding + feather_outside(params.feather, params.mask_edge)
    area = around(mask, padding, native) if params.only_masked else whole(picture)
    extent = extent_for(area.size, native, model.vae_scale)
    return Inpainting(picture, mask, area, extent, params.feather, params.mask_edge, profile)


def make(
    picture: NDArray[np.uint8], mask: Mask, params: InpaintParams, run: JobRunner, profile: bytes | None = None
) -> list[GeneratedImage]:
    """The picture with the masked part replaced, of shape (height, width, 3), or 4 channels if it has alpha.

    It comes in the colours of ``profile`` and stays in them.

    Raises:
        Cancelled: before it was made.
        ArtflowError: ``empty_mask``, ``bad_mask``, ``hidden``, or what went wrong on the way.
    """
    planned = plan_inpaint(flattened(picture), mask, params, run.model, profile=profile)
    made = shown(painted("inpaint", [(planned, params)], run))
    size = {"width": picture.shape[1], "height": picture.shape[0]}
    return [
        GeneratedImage(as_clear(picture, planned, planned.composite(m.picture)), m.recipe | size, profile) for m in made
    ]


def as_clear(picture: NDArray[np.uint8], work: Inpainting, finished: Picture) -> NDArray[np.uint8]:
    """The finished picture with the original's alpha, opaque where it was inpainted."""
    if picture.shape[-1] == 3:
        return finished
    opacity = feathered(work.mask, work.feather, work.mask_edge)
    alpha = composed(picture[..., 3:], np.full_like(picture[..., 3:], 255), opacity)
    # The finished picture is composed on white already, which is taken out again where it stays transparent.
    unmixed = np.rint(255 - (255 - finished.astype(np.float32)) * 255 / np.maximum(alpha, 1)).clip(0, 255)
    colours = np.where(opacity[..., None] > 0, unmixed.astype(np.uint8), picture[..., :3])
    return np.dstack([colours, alpha])


def painted(
    mode: str, works: Sequence[tuple[Inpainting, PaintParams]], run: JobRunner, doing: str = "Step"
) -> list[GeneratedImage]:
    """What inpaintings or passes of outpaint, of one strength, are filled with, in their own colours: for
    `Inpainting.composite`.

    At strength 0 that is what they begin with.

    Raises:
        Cancelled: before all were made.
        ArtflowError: what went wrong on the way.
    """
    specs = [image_spec(mode, work, params, run.model) for work, params in works]
    if all(params.strength > 0 for _, params in works):
        images = zip(run.complete(specs, doing), works, strict=True)
        return [replace(made, picture=from_srgb(made.picture, work.profile)) for made, (work, _) in images]
    begun = [
        filled(work.area.cut(work.original), work.area.cut(work.mask), params.fill, spec.seed)
        for (work, params), spec in zip(works, specs, strict=True)
    ]
    return [GeneratedImage(picture, spec.recipe) for picture, spec in zip(begun, specs, strict=True)]


def image_spec(mode: str, work: Inpainting, params: PaintParams, model: ModelInfo) -> ImageSpec:
    """The picture of one inpainting or pass of outpaint, at a strength above 0."""
    seed = random_seed() if params.seed == -1 else params.seed
    recipe = params.recipe(mode, model, seed) | {"width": work.extent.width, "height": work.extent.height}
    return params.image_spec(
        recipe,
        work.extent,
        seed,
        strength=params.strength,
        source=filled(work.shown, work.shown_mask, params.fill, seed),
        mask=work.shown_mask,
        masked_image=work.masked_image if model.inpaints else None,
        controls=control_pictures(work.shown, params.control),
    )


def filled(picture: Picture, mask: Mask, fill: Fill, seed: int) -> Picture:
    """The picture that the model starts from: the masked part is filled as ``fill`` says."""
    hole = (mask > 127)[..., None]
    if fill == "blur":
        return surroundings(picture, mask, radius=max(picture.shape) / 32)
    if fill == "noise":
        noise = np.random.default_rng(seed).integers(0, 256, picture.shape, np.uint8)
        return np.where(hole, noise, picture)
    if fill == "empty":
        return np.where(hole, np.uint8(127), picture)
    return picture
