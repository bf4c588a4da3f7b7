"""Hires fix: what was drawn is enlarged and goes through the model again at its new size, at a low strength.

Low strength keeps what the picture shows and lets the model add what a larger picture has room for.
"""

from __future__ import annotations

from collections.abc import Sequence

from artflow.engine.control_unit import ControlPicture
from artflow.engine.image_spec import ImageSpec
from artflow.engine.job_request import GeneratedImage
from artflow.errors import ArtflowError
from artflow.images import Size, resized
from artflow.modes.job_runner import JobRunner
from artflow.modes.native_resolution import Enlarge
from artflow.modes.text import TextParams
from artflow.modes.upscale import FACTORS


def enlarged(
    images: Sequence[GeneratedImage],
    params: TextParams,
    run: JobRunner,
    enlarge: Enlarge,
    max_size: int,
    controls: tuple[ControlPicture, ...] = (),
) -> list[GeneratedImage]:
    """Hires fix: the pictures enlarged, and redrawn at their new size. Those not reached by a cancel stay as they were.

    Raises:
        ArtflowError: ``bad_size`` where the enlarged picture would be over ``max_size`` pixels long.
    """
    size = hires_size(params, run.model.vae_scale, max_size)
    factor = next(f for f in FACTORS if f >= params.hires_scale)
    specs: dict[int, ImageSpec] = {}
    for index, image in enumerate(images):
        if image.recipe.get("hidden"):
            continue
        larger = enlarge(image.picture, factor, params.hires_upscaler)
        if larger is None:
            break
        specs[index] = params.image_spec(
            image.recipe | params.hires,
            size,
            int(image.recipe["seed"]),
            steps=params.hires_steps or params.steps,
            strength=params.hires_denoise,
            source=resized(larger, size),
            controls=controls,
        )
    which = list(specs)

    def doing(number: int) -> str:
        return f"Picture {which[number] + 1}, second pass, step" if len(images) > 1 else "Second pass, step"

    again = dict(zip(which, run(list(specs.values()), doing), strict=True))
    return [again.get(index) or image for index, image in enumerate(images)]


def hires_size(params: TextParams, multiple: int, max_size: int) -> Size:
    """The size of the second pass: that of the first, enlarged, each side a multiple.

    Raises:
        ArtflowError: ``bad_size``.
    """
    first = Size(params.width, params.height)
    size = first.scaled(params.hires_scale, multiple)
    if max(size) > max_size:
        sentence = f"{first} enlarged {params.hires_scale:g} times is {size}; {max_size} pixels a side are allowed."
        raise ArtflowError("bad_size", sentence)
    return size
