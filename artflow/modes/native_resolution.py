"""Pictures of any size from a model that only works at its native size, as small ones do.

The native picture is outpainted to the wanted aspect and enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from artflow.engine.image_spec import ImageSpec
from artflow.engine.job_request import GeneratedImage
from artflow.images import Picture, Size, resized
from artflow.models.info import ModelInfo
from artflow.modes import outpaint
from artflow.modes.job_runner import JobRunner
from artflow.modes.outpaint import OutpaintParams, borders_for_ratio
from artflow.modes.text import JobParams, TextParams
from artflow.modes.upscale import FACTORS

Enlarge = Callable[[Picture, int, str], Picture | None]  # by a factor, with an upscaler; None when cancelled


def drawn(params: TextParams, model: ModelInfo) -> TextParams:
    """The parameters at the model's native size, if it only works at that; else unchanged.

    Raises:
        ArtflowError: ``bad_ratio`` if the native picture cannot be outpainted to the aspect.
    """
    if not model.native_resolution_only or (params.width, params.height) == model.native_size:
        return params
    borders_for_ratio(model.native_size, params.width / params.height, "centre")
    return params.model_copy(update={"width": model.width, "height": model.height})


def made_to_fit(
    specs: Sequence[ImageSpec], params: TextParams, run: JobRunner, enlarge: Enlarge
) -> list[GeneratedImage]:
    """These pictures, drawn at the model's own size, as large as ``params`` ask.

    All are drawn, then all are carried on, then one after the other is enlarged; a cancel keeps those that are done.

    Raises:
        Cancelled: before all were drawn and carried on.
        ArtflowError: what went wrong on the way.
    """
    size = Size(params.width, params.height)
    drawn = run.complete(specs)
    own = Size(drawn[0].picture.shape[1], drawn[0].picture.shape[0])
    wider = _carried_on(drawn, own, params, run)
    finished: list[GeneratedImage] = []
    for first, image in zip(drawn, wider, strict=True):
        recipe = first.recipe | {"width": size.width, "height": size.height, "drawn_at": str(own)}
        if image.recipe.get("hidden"):
            recipe["hidden"] = True
        picture = image.picture
        if (factor := size.width / picture.shape[1]) > 1 and not recipe.get("hidden"):
            larger = enlarge(picture, next((f for f in FACTORS if f >= factor), FACTORS[-1]), params.hires_upscaler)
            if larger is None:
                break
            picture, recipe = larger, recipe | {"hires_upscaler": params.hires_upscaler}
        finished.append(GeneratedImage(resized(picture, size), recipe))
    return finished


def _carried_on(
    drawn: Sequence[GeneratedImage], own: Size, params: TextParams, run: JobRunner
) -> Sequence[GeneratedImage]:
    """The pictures with the aspect that is asked for. Those that must not be shown stay as they are, black."""
    borders = borders_for_ratio(own, params.width / params.height, "centre")
    open_ones = [image for image in drawn if not image.recipe.get("hidden")]
    if not any(borders) or not open_ones:
        return drawn
    shared = params.model_dump(include=set(JobParams.model_fields) - {"control"}) | borders._asdict()
    asked = [OutpaintParams(**shared | {"seed": image.recipe["seed"]}) for image in open_ones]
    wider = iter(outpaint.carried_on([image.picture for image in open_ones], asked, run))
    return [image if image.recipe.get("hidden") else next(wider) for image in drawn]
