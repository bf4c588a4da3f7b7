"""Diffusion upscale: an enlarged picture goes through the model again in tiles, at a low strength.

Low strength keeps what the picture shows and lets the model add what a larger picture has room for.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from artflow.engine.image_spec import ImageSpec, NoiseRegion
from artflow.engine.job_request import GeneratedImage
from artflow.engine.params import random_seed
from artflow.images import Picture, Size
from artflow.models.info import ModelInfo
from artflow.modes.alpha import joined, split
from artflow.modes.control_maps import control_pictures
from artflow.modes.job_runner import JobRunner, shown
from artflow.modes.text import JobParams
from artflow.modes.tiles import Floats, Tile, Tiling, tiled
from artflow.modes.upscale import FACTORS

BAND = 2**24  # pixels of tiles that are asked for at once


class UpscaleParams(JobParams):
    """Parameters of upscale; all but the first two are used only at a strength above 0."""

    factor: int = Field(2, title="Scale factor", json_schema_extra={"enum": list(FACTORS)})
    upscaler: str = Field("span", title="Upscaler")
    strength: float = Field(
        0, ge=0, le=1, title="Strength", description="0: the model redraws nothing; 0.3 adds detail"
    )


def in_tiles(picture: NDArray[np.uint8], params: UpscaleParams, run: JobRunner) -> list[GeneratedImage]:
    """Diffusion upscale: the (enlarged) picture redrawn in tiles of the model's own size. Its alpha stays.

    The noise of all tiles, at every step, is cut out of one field, so that neighbours draw the same in what they share,
    and fade into each other there. They are asked for together, in bands of `BAND` pixels, for the memory's sake.

    Raises:
        Cancelled: before it was finished.
        ArtflowError: ``hidden``, or what went wrong on the way.
    """
    seed = random_seed() if params.seed == -1 else params.seed
    scale = run.model.vae_scale
    height, width = picture.shape[:2]
    colours, alpha = split(picture)
    padded = cv2.copyMakeBorder(colours, 0, -height % scale, 0, -width % scale, cv2.BORDER_REPLICATE)
    recipe = params.recipe("upscale", run.model, seed) | {"width": width, "height": height}
    tiling = tiling_for(run.model)
    waiting = list(tiling.tiles(padded))
    total, redrawn = len(waiting), dict[tuple[int, int], Picture]()

    def spec(tile: Tile) -> ImageSpec:
        return params.image_spec(
            recipe,
            Size(tile.picture.shape[1], tile.picture.shape[0]),
            seed,
            strength=params.strength,
            source=tile.picture,
            controls=control_pictures(tile.picture, params.control),
            noise_region=NoiseRegion(*(at // scale for at in tile.at)),
        )

    def take(tile: Tile) -> Floats:
        if not redrawn:
            first, count = total - len(waiting), max(1, BAND // tiling.side**2)
            band = [waiting.pop(0) for _ in waiting[:count]]
            images = shown(run.complete([spec(t) for t in band], lambda i: f"Tile {first + i + 1} of {total}, step"))
            redrawn.update({t.at: image.picture for t, image in zip(band, images, strict=True)})
        return redrawn.pop(tile.at).astype(np.float32)

    result = tiled(padded, 1, take, tiling, lambda: None)
    return [GeneratedImage(joined(result[:height, :width], alpha), recipe)]


def tiling_for(model: ModelInfo) -> Tiling:
    """Tiles of the model's native size, whose edges fall on whole latents."""
    side = max(min(model.native_size) // 64 * 64, 64)
    return Tiling(side, trim=side // 16, fade=side // 4)
