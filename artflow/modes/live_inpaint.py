"""Live inpaint: the masked part of a picture follows the prompt while it is typed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artflow.engine.frame import InpaintRegion
from artflow.engine.params import LiveParams
from artflow.engine.stream_policy import Seen, StreamPolicy
from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.models.info import ModelInfo
from artflow.modes.control_maps import control_pictures
from artflow.modes.inpaint import RegionParams, plan_inpaint
from artflow.modes.live import LiveMode


class LiveInpaintParams(RegionParams, LiveParams):
    """Parameters of live inpaint. ``width`` and ``height`` are the size that the model works at."""


def preprocess(picture: NDArray[np.uint8], params: LiveParams, model: ModelInfo, longest: int | None = None) -> Seen:
    """What the model is shown of a picture of shape (height, width, 4), and the hole in it.

    Pixels less than half opaque are replaced, starting from their colours as far as the strength leaves them.
    ``longest`` limits the sides, because the whole picture is composed again for every result.

    Raises:
        ArtflowError: ``empty_mask``, ``picture_too_large``.
    """
    assert isinstance(params, LiveInpaintParams)
    size = Size(picture.shape[1], picture.shape[0])
    if longest is not None and max(size) > longest:
        raise ArtflowError(
            "picture_too_large", f"The picture is {size}; live it may have {longest} pixels a side, so send it smaller."
        )
    mask = np.where(picture[..., 3] < 128, np.uint8(255), np.uint8(0))
    work = plan_inpaint(picture[..., :3], mask, params, model, Size(params.width, params.height))
    region = InpaintRegion(work.shown_mask, work.masked_image if model.inpaints else None)
    return Seen(work.shown, region, work.composite)


LIVE_INPAINT = LiveMode(
    name="inpaint",
    title="Live inpaint",
    description="What is painted over follows the prompt; the rest of the picture stays.",
    policy=StreamPolicy(
        "live-inpaint", pipelined=False, latest_only=True, preprocess=preprocess, maps=control_pictures, keep_alpha=True
    ),
    defaults={"prompt": "a red balloon", "steps": 2, "strength": 1.0, "priority": "quality"},
    kind=LiveInpaintParams,
)
