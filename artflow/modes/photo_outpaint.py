"""Outpaint without a prompt: the network that fills holes in photos carries the picture on (`artflow.modes.remove`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artflow.engine.job_request import GeneratedImage
from artflow.images import Picture, Size, flattened
from artflow.modes.masks import toned
from artflow.modes.outpaint import Borders, OutpaintParams, extended, new_area, strides, with_alpha
from artflow.modes.remove import MODEL, Filling, filled


def make(
    picture: NDArray[np.uint8], params: OutpaintParams, filling: Filling, profile: bytes | None = None
) -> list[GeneratedImage]:
    """The picture carried on beyond its borders, in passes; as `artflow.modes.outpaint.make` else.

    Raises:
        Cancelled: before it was made.
    """
    size = Size(picture.shape[1], picture.shape[0])
    borders = params.borders(size)
    passes = list(strides(size, borders))
    grown = flattened(picture)
    for number, step in enumerate(passes, 1):
        grown = carried_on(grown, step, filling.named(f"Pass {number} of {len(passes)}, part"), profile)
    facts = {
        "mode": "outpaint",
        "model": MODEL,
        "prompt": "",
        "unit": "pixels",
        "width": grown.shape[1],
        "height": grown.shape[0],
    }
    return [GeneratedImage(with_alpha(grown, picture, borders), borders._asdict() | facts, profile)]


def carried_on(picture: Picture, borders: Borders, filling: Filling, profile: bytes | None = None) -> Picture:
    """One pass. What is new has, roughly, the colours of the mirrored edges.

    Nothing else keeps the network near them: it sees the picture on one side alone, and pass after pass a sky becomes
    darker or brighter. Beside the old border it goes on by itself, and no step is to be seen.
    """
    begun, hole = extended(picture, borders), new_area(picture, borders)
    made = filled(begun, hole, filling, profile)
    return toned(made, begun, hole)
