"""Pictures of any size from a model that draws well at its own size alone, as small ones do.

What it draws is carried on to the aspect that is asked for (outpaint), and enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from artflow.engine.image_spec import ImageSpec
from artflow.engine.job import GeneratedImage
from artflow.errors import ArtflowError
from artflow.images import Picture, Size, resized
from artflow.models.info import ModelInfo
from artflow.modes import outpaint
from artflow.modes.job_runner import JobRunner
from artflow.modes.outpaint import OutpaintParams, borders_for_ratio
from artflow.modes.text import JobParams, TextParams
from artflow.modes.upscale import FACTORS

Enlarge = Callable[[Picture, int, str], Picture | None]  # by a factor, with an upscaler; None when cancelled


def drawn(params: TextParams, model: ModelInfo) -> TextParams:
    """What the model is asked for: the same at its own size where it draws no other.

    Raises:
        ArtflowError: ``bad_ratio``, where that cannot be carried on to the aspect.
    """
    if not model.native_resolution_only or (params.width, params.height) == model.native_size:
        return params
    borders_for_ratio(model.native_size, params.width / params.height, "centre")
    return params.model_copy(update={"width": model.width, "height": model.height})


def made_to_fit(
    specs: Sequence[ImageSpec], params: TextParams, run: JobRunner, enlarge: Enlarge
) -> list[GeneratedImage]:
    """These pictures, drawn at the model's own size, as large as ``params`` ask; fewer when it was cancelled.

    Raises:
        ArtflowError: what went wrong on the way.
    """
    finished: list[GeneratedImage] = []
    for number, spec in enumerate(specs, 1):
        which = f"Picture {number} of {len(specs)}, step" if len(specs) > 1 else "Step"
        made = run([spec], which)
        one = _fitted(made[0], params, run, enlarge) if made else None
        if one is None:
            break
        finished.append(one)
    return finished


def _fitted(made: GeneratedImage, params: TextParams, run: JobRunner, enlarge: Enlarge) -> GeneratedImage | None:
    size, own = Size(params.width, params.height), Size(made.picture.shape[1], made.picture.shape[0])
    recipe = made.recipe | {"width": size.width, "height": size.height, "drawn_at": str(own)}
    hidden = GeneratedImage(resized(np.zeros_like(made.picture), size), recipe | {"hidden": True})
    if made.recipe.get("hidden"):
        return hidden
    picture = made.picture
    borders = borders_for_ratio(own, size.width / size.height, "centre")
    if any(borders):
        shared = params.model_dump(include=set(JobParams.model_fields)) | {"seed": made.recipe["seed"]}
        try:
            wider = outpaint.make(picture, OutpaintParams(**shared, **borders._asdict()), run)
        except ArtflowError as error:
            if error.code != "hidden":
                raise
            return hidden
        if not wider:
            return None
        picture = wider[0].picture
    if (factor := size.width / picture.shape[1]) > 1:
        larger = enlarge(picture, next((f for f in FACTORS if f >= factor), FACTORS[-1]), params.hires_upscaler)
        if larger is None:
            return None
        picture, recipe = larger, recipe | {"hires_upscaler": params.hires_upscaler}
    return GeneratedImage(resized(picture, size), recipe)
