"""Outpaint: extends a picture beyond its borders; inside of them no byte changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from artflow.engine.job_request import GeneratedImage
from artflow.engine.params import random_seed
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, flattened
from artflow.models.info import ModelInfo
from artflow.modes.inpaint import Inpainting, PaintParams, painted
from artflow.modes.job_runner import JobRunner, shown
from artflow.modes.masks import around, composed, distance_inside, extent_for

Anchor = Literal["left", "centre", "right"]
Unit = Literal["pixels", "percent"]
WIDEST = 4096  # pixels that one side may grow by


class Borders(NamedTuple):
    """How many pixels are added on each side."""

    left: int = 0
    up: int = 0
    right: int = 0
    down: int = 0


class OutpaintParams(PaintParams):
    """Parameters of outpaint: how much to add on each side."""

    strength: float = Field(
        0.75, ge=0, le=1, title="Strength", description="0 keeps the mirrored edges, 1 replaces them"
    )

    left: int = Field(0, ge=0, le=WIDEST, title="Left")
    up: int = Field(0, ge=0, le=WIDEST, title="Up")
    right: int = Field(0, ge=0, le=WIDEST, title="Right")
    down: int = Field(0, ge=0, le=WIDEST, title="Down")
    unit: Unit = Field("pixels", title="Unit", description="percent: of the picture's width or height")

    def borders(self, size: Size) -> Borders:
        """All four sides of a picture of this size, in pixels."""
        sides = Borders(self.left, self.up, self.right, self.down)
        if self.unit == "pixels":
            return sides
        across, along = size.width / 100, size.height / 100
        return Borders(*(round(n * s) for n, s in zip(sides, (across, along, across, along), strict=True)))


class AspectParams(BaseModel):
    """An aspect (width / height) instead of the four sides, and where the picture is in it; 0: the four sides."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ratio: float = Field(0, title="Aspect")
    anchor: Anchor = Field("centre", title="Stays")


def borders_for_ratio(size: Size, ratio: float, anchor: Anchor) -> Borders:
    """The borders that give a picture this aspect (width / height); ``anchor`` is the picture's position in it.

    A wider aspect adds left and right, a taller one up and down (anchor left is then the top).

    Raises:
        ArtflowError: ``bad_ratio`` outside 1:4 to 4:1; ``picture_too_large`` where a side would grow too much.
    """
    if not 0.25 <= ratio <= 4:
        raise ArtflowError("bad_ratio", f"The aspect {ratio:g} is not allowed: from 0.25 (1:4) to 4 (4:1).")
    wider = round(size.height * ratio) - size.width
    before, after = _split(wider if wider >= 0 else round(size.width / ratio) - size.height, anchor)
    if max(before, after) > WIDEST:
        sentence = f"This aspect would add {max(before, after)} pixels on one side; at most {WIDEST} are allowed."
        raise ArtflowError("picture_too_large", sentence)
    return Borders(left=before, right=after) if wider >= 0 else Borders(up=before, down=after)


def _split(extra: int, anchor: Anchor) -> tuple[int, int]:
    before = {"left": 0, "centre": extra // 2, "right": extra}[anchor]
    return before, extra - before


def check_borders(size: Size, borders: Borders, *, max_pixels: int) -> None:
    """Refuse borders that add nothing or too much.

    Raises:
        ArtflowError: ``no_border``, ``picture_too_large``.
    """
    if not any(borders):
        raise ArtflowError("no_border", "Nothing is to be added; give at least one side some pixels.")
    grown = Size(size.width + borders.left + borders.right, size.height + borders.up + borders.down)
    if grown.width * grown.height > max_pixels:
        allowed = f"at most {max_pixels} pixels are allowed"
        raise ArtflowError("picture_too_large", f"The result would be {grown}; {allowed}.")


def strides(size: Size, borders: Borders) -> Iterator[Borders]:
    """The borders split into passes, each of which adds at most half of the present size, to keep context."""
    left, up, right, down = borders
    width, height = size
    while left or right or up or down:
        across, along = max(width // 2, 1), max(height // 2, 1)
        now_left, now_up = min(left, across), min(up, along)
        now = Borders(now_left, now_up, min(right, across - now_left), min(down, along - now_up))
        yield now
        left, up, right, down = (left - now.left, up - now.up, right - now.right, down - now.down)
        width, height = width + now.left + now.right, height + now.up + now.down


def extended(picture: Picture, borders: Borders) -> Picture:
    """The picture with mirrored edges over the borders: the preview, and what the model starts from.

    The mirrored part is sharp at the edge, so that no step is visible, and softer further out.
    """
    left, up, right, down = borders
    kind = cv2.BORDER_REFLECT_101 if _reflects(picture, borders) else cv2.BORDER_REPLICATE
    drawn = cv2.copyMakeBorder(picture, up, down, left, right, kind)
    reach = max(max(borders) // 4, 1)
    soft = cv2.stackBlur(drawn, (2 * reach + 1,) * 2)
    return composed(drawn, soft, np.clip(distance_inside(new_area(picture, borders)) / reach, 0, 1))


def preview(picture: Picture, borders: Borders) -> Picture:
    """The extended frame for display: the picture, and its added part in paler colours."""
    canvas, mask = extended(picture, borders), new_area(picture, borders)
    pale = (canvas.astype(np.uint16) + 2 * 255) // 3
    return np.where((mask > 0)[..., None], pale, canvas).astype(np.uint8)


def _reflects(picture: Picture, borders: Borders) -> bool:
    height, width = picture.shape[:2]
    return max(borders.left, borders.right) < width and max(borders.up, borders.down) < height


def new_area(picture: Picture, borders: Borders) -> np.ndarray:
    """The mask of the added part: 255 there, 0 on the picture."""
    height, width = picture.shape[:2]
    mask = np.full((height + borders.up + borders.down, width + borders.left + borders.right), 255, np.uint8)
    mask[borders.up : borders.up + height, borders.left : borders.left + width] = 0
    return mask


def plan_outpaint_pass(
    picture: Picture, borders: Borders, model: ModelInfo, profile: bytes | None = None
) -> Inpainting:
    """One pass: the model works on the new part with as much of the picture as fits.

    The result fades in over the mirrored edges inside the new part, so that the picture keeps every byte and no step is
    visible at its edge.
    """
    canvas, mask = extended(picture, borders), new_area(picture, borders)
    area = around(mask, max(borders), model.native_size)
    fade = max(8, min(max(area.size) // 16, min(b for b in borders if b) // 2))
    extent = extent_for(area.size, model.native_size, model.vae_scale)
    return Inpainting(canvas, mask, area, extent, fade, "inwards", profile)


def make(
    picture: NDArray[np.uint8], params: OutpaintParams, run: JobRunner, profile: bytes | None = None
) -> list[GeneratedImage]:
    """The picture carried on beyond its borders, in passes.

    It has the shape (height, width, 3), or 4 where it is see-through; what is added never is. It comes in the colours
    of ``profile`` (ICC; None: sRGB) and stays in them.

    Raises:
        Cancelled: before it was made, since half of it is of no use.
        ArtflowError: ``hidden``, or what went wrong on the way.
    """
    (made,) = shown(carried_on([flattened(picture)], [params], run, profile))
    borders = params.borders(Size(picture.shape[1], picture.shape[0]))
    return [replace(made, picture=with_alpha(made.picture, picture, borders), profile=profile)]


def with_alpha(grown: Picture, picture: NDArray[np.uint8], borders: Borders) -> NDArray[np.uint8]:
    """The grown picture, see-through where ``picture``, of 3 or 4 channels, is; what is added never is."""
    if picture.shape[-1] == 3:
        return grown
    result = np.dstack([grown, np.full(grown.shape[:2], 255, np.uint8)])
    result[new_area(picture, borders) == 0] = picture.reshape(-1, 4)
    return result


def carried_on(
    pictures: Sequence[Picture], asked: Sequence[OutpaintParams], run: JobRunner, profile: bytes | None = None
) -> list[GeneratedImage]:
    """Pictures of one size carried on beyond the same borders, each as it is asked for; a pass of all at a time.

    They come in the colours of ``profile`` and stay in them.

    A picture of which a part must not be shown is black, and its recipe has ``hidden``.

    Raises:
        Cancelled: before all were made.
        ArtflowError: what went wrong on the way.
    """
    # One seed for all passes of a picture, so that its recipe makes the picture again.
    asked = [p if p.seed != -1 else p.model_copy(update={"seed": random_seed()}) for p in asked]
    size = Size(pictures[0].shape[1], pictures[0].shape[0])
    passes = list(strides(size, asked[0].borders(size)))
    results = [GeneratedImage(picture, {}) for picture in pictures]
    for number, step in enumerate(passes, 1):
        works = {
            i: plan_outpaint_pass(one.picture, step, run.model, profile)
            for i, one in enumerate(results)
            if not one.recipe.get("hidden")
        }
        about = f"Pass {number} of {len(passes)}, step" if len(passes) > 1 else "Step"
        made = painted("outpaint", [(work, asked[i]) for i, work in works.items()], run, about)
        for (i, work), one in zip(works.items(), made, strict=True):
            picture = np.zeros_like(work.original) if one.recipe.get("hidden") else work.composite(one.picture)
            grown = {"width": picture.shape[1], "height": picture.shape[0]}
            results[i] = GeneratedImage(picture, one.recipe | grown)
    return results
