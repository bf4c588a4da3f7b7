"""Writing PNG files with their recipe, as ArtFlow and as programs that read A1111's text find it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from artflow.images import as_png
from artflow.metadata import a1111, artflow


def encode_png(picture: NDArray[np.uint8], recipe: dict[str, Any], profile: bytes | None = None) -> bytes:
    """A PNG that carries its recipe: the A1111 ``parameters`` text and our own JSON under ``artflow``.

    ``picture`` has 3 or 4 channels, in the colours of an ICC profile (None: sRGB).
    """
    info = PngInfo()
    text = a1111.text(recipe)
    if text.strip():
        info.add_itxt("parameters", _utf8(text))
    info.add_itxt("artflow", _utf8(artflow.text(recipe)))
    return as_png(picture, profile, info)


def _utf8(text: str) -> bytes:
    """UTF-8 bytes; half a surrogate pair, which JSON can hold and a file cannot, becomes a question mark."""
    return text.encode("utf-8", "replace")
