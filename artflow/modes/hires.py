"""HiresFix: what was drawn is enlarged and goes through the model again at its new size, at a low strength.

Low strength keeps what the picture shows and lets the model add what a larger picture has room for.
"""

from __future__ import annotations

from collections.abc import Sequence

from artflow.engine.job import GeneratedImage
from artflow.errors import ArtflowError
from artflow.images import Size, resized
from artflow.models.info import ModelInfo
from artflow.modes.job_runner import JobRunner
from artflow.modes.native_resolution import Enlarge
from artflow.modes.text import TextParams
from artflow.modes.upscale import FACTORS


def enlarged(
    made: Sequence[GeneratedImage], params: TextParams, run: JobRunner, enlarge: Enlarge, max_size: int
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
