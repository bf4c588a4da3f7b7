"""Pictures of any size from a model that draws well at its own size alone, as small ones do.

What it draws is carried on to the aspect that is asked for (outpaint), and enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from artflow.engine.job import Made
from artflow.images import Picture, Size, resized
from artflow.models.catalog import ModelSpec
from artflow.modes import outpaint
from artflow.modes.outpaint import OutpaintParams, borders_for_ratio
from artflow.modes.text import JobParams, TextParams
from artflow.modes.upscale import FACTORS
from artflow.modes.work import Run

Enlarge = Callable[[Picture, int, str], Picture | None]  # by a factor, with an upscaler; None when cancelled


def drawn(params: TextParams, spec: ModelSpec) -> TextParams:
    """What the model is asked for: the same at its own size where it draws no other.

    Raises:
        ArtflowError: ``bad_ratio``, where that cannot be carried on to the aspect.
    """
    if not spec.own_size_only or (params.width, params.height) == (spec.width, spec.height):
        return params
    borders_for_ratio(Size(spec.width, spec.height), params.width / params.height, "centre")
    return params.model_copy(update={"width": spec.width, "height": spec.height})


def fitted(made: Sequence[Made], params: TextParams, run: Run, enlarge: Enlarge) -> list[Made]:
    """What was drawn at the model's own size, as large as ``params`` ask; those not reached by a cancel are left out.

    Raises:
        ArtflowError: ``hidden``, or what went wrong on the way.
    """
    size = Size(params.width, params.height)
    finished: list[Made] = []
    for one in made:
        own = Size(one.picture.shape[1], one.picture.shape[0])
        recipe = one.recipe | {"width": size.width, "height": size.height, "drawn_at": str(own)}
        if one.recipe.get("hidden"):
            finished.append(Made(resized(one.picture, size), recipe))
            continue
        picture: Picture | None = one.picture
        borders = borders_for_ratio(own, size.width / size.height, "centre")
        if any(borders):
            shared = params.model_dump(include=set(JobParams.model_fields)) | {"seed": one.recipe["seed"]}
            wider = outpaint.make(one.picture, OutpaintParams(**shared, **borders._asdict()), run)
            picture = wider[0].picture if wider else None
        if picture is not None and (factor := size.width / picture.shape[1]) > 1:
            picture = enlarge(picture, next((f for f in FACTORS if f >= factor), FACTORS[-1]), params.hires_upscaler)
        if picture is None:
            break
        finished.append(replace(one, picture=resized(picture, size), recipe=recipe))
    return finished
