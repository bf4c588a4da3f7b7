"""Diffusion upscale: an enlarged picture goes through the model again in tiles, at a low strength.

Low strength keeps what the picture shows and lets the model add what a larger picture has room for.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field

from artflow.engine.image_spec import NoiseRegion
from artflow.engine.job import GeneratedImage
from artflow.engine.params import random_seed
from artflow.errors import Cancelled
from artflow.images import Picture, Size
from artflow.models.info import ModelInfo
from artflow.modes.job_runner import JobRunner, shown
from artflow.modes.text import JobParams
from artflow.modes.tiles import Floats, Tile, Tiling, tiled
from artflow.modes.upscale import FACTORS


class UpscaleParams(JobParams):
    """What may be asked of upscale; all but the first two count only where the model redraws."""

    factor: int = Field(2, title="How much larger", json_schema_extra={"enum": list(FACTORS)})
    upscaler: str = Field("span", title="Upscaler")
    strength: float = Field(0, ge=0, le=1, title="Redraw with the model", description="0: not at all; 0.3 adds detail")


def in_tiles(picture: Picture, params: UpscaleParams, run: JobRunner) -> list[GeneratedImage]:
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
