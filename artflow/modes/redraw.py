"""Redraw: a picture goes through the model again, a little: whole (HiresFix) or in tiles (diffusion upscale).

Low strength keeps what the picture shows and lets the model add what a larger picture has room for.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from pydantic import Field

from artflow.engine.image_spec import NoiseRegion
from artflow.engine.job import GeneratedImage
from artflow.engine.params import random_seed
from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size, resized
from artflow.models.info import ModelInfo
from artflow.modes.native_resolution import Enlarge
from artflow.modes.text import JobParams, TextParams
from artflow.modes.tiles import Floats, Tile, Tiling, tiled
from artflow.modes.upscale import FACTORS
from artflow.modes.work import Run, shown


class UpscaleParams(JobParams):
    """What may be asked of upscale; all but the first two count only where the model redraws."""

    factor: int = Field(2, title="How much larger", json_schema_extra={"enum": list(FACTORS)})
    upscaler: str = Field("span", title="Upscaler")
    strength: float = Field(0, ge=0, le=1, title="Redraw with the model", description="0: not at all; 0.3 adds detail")


def enlarged(
    made: Sequence[GeneratedImage], params: TextParams, run: Run, enlarge: Enlarge, max_size: int
) -> list[GeneratedImage]:
    """HiresFix: each picture enlarged, and redrawn at its new size. Those not reached by a cancel stay as they were.

    Raises:
        ArtflowError: ``bad_size`` where the enlarged picture would be over ``max_size`` pixels long.
    """
    finished: list[GeneratedImage] = []
    for one in made:
        if one.recipe.get("hidden"):
            finished.append(one)
            continue
        size = hires_size(params, run.runner.model.info, max_size)
        larger = enlarge(one.picture, next(f for f in FACTORS if f >= params.hires_scale), params.hires_upscaler)
        if larger is None:
            break
        seed = int(one.recipe["seed"])
        spec = params.image_spec(
            one.recipe | params.hires,
            size,
            seed,
            steps=params.hires_steps or params.steps,
            strength=params.hires_denoise,
            source=resized(larger, size),
        )
        number = f"Picture {len(finished) + 1}, second" if len(made) > 1 else "Second"
        again = run([spec], f"{number} pass, step")
        if not again:
            break
        finished += again
    return finished + list(made[len(finished) :])


def hires_size(params: TextParams, model: ModelInfo, max_size: int) -> Size:
    """The size of the second pass: the first one's, enlarged, as the model can make it.

    Raises:
        ArtflowError: ``bad_size``.
    """
    first = Size(params.width, params.height)
    size = first.scaled(params.hires_scale, model.vae_scale)
    if max(size) > max_size:
        sentence = f"{first} enlarged {params.hires_scale:g} times is {size}; {max_size} pixels a side are allowed."
        raise ArtflowError("bad_size", sentence)
    return size


def in_tiles(picture: Picture, params: UpscaleParams, run: Run) -> list[GeneratedImage]:
    """Diffusion upscale: the (enlarged) picture redrawn in tiles of the model's own size; none when cancelled.

    All tiles are cut out of one field of noise, so that neighbours draw the same in what they share, and fade into
    each other there.
    """
    model = run.runner.model.info
    seed = random_seed() if params.seed == -1 else params.seed
    scale = model.vae_scale
    height, width = picture.shape[:2]
    padded = cv2.copyMakeBorder(picture, 0, -height % scale, 0, -width % scale, cv2.BORDER_REPLICATE)
    tiling = tiling_for(model)
    total, done = tiling.count(*padded.shape[:2]), 0
    field = (padded.shape[0] // scale, padded.shape[1] // scale)
    recipe = params.recipe("upscale", model, seed) | {"width": width, "height": height}

    def redrawn(tile: Tile) -> Floats:
        spec = params.image_spec(
            recipe,
            Size(tile.picture.shape[1], tile.picture.shape[0]),
            seed,
            strength=params.strength,
            source=tile.picture,
            noise_region=NoiseRegion(*field, *(at // scale for at in tile.at)),
        )
        made = shown(run([spec], f"Tile {done + 1} of {total}, step"))
        if not made:
            raise Cancelled
        return made[0].picture.astype(np.float32)

    def after_tile() -> None:
        nonlocal done
        done += 1

    try:
        result = tiled(padded, 1, redrawn, tiling, after_tile)
    except Cancelled:
        return []
    return [GeneratedImage(result[:height, :width], recipe)]


def tiling_for(model: ModelInfo) -> Tiling:
    """Tiles as large as the model's pictures, whose edges fall on whole latents."""
    side = max(min(model.native_size) // 64 * 64, 64)
    return Tiling(side, trim=side // 16, fade=side // 4)

