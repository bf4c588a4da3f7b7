"""Pictures as files."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from artflow.images.size import Picture


def encode_jpeg(picture: Picture, quality: int) -> bytes:
    """JPEG bytes; ``quality`` 1 to 100. Full colour resolution from 90 on.

    By OpenCV, since Pillow's encoder holds the interpreter's lock and so stops every other thread.
    """
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if quality >= 90 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, file = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    return file.tobytes()


def as_png(pixels: NDArray[np.uint8], profile: bytes | None = None, texts: PngInfo | None = None) -> bytes:
    """PNG bytes of pixels with 3 or 4 channels, in the colours of an ICC profile (None: sRGB)."""
    out = io.BytesIO()
    # A fifth of the default level's time for a file a tenth larger.
    Image.fromarray(pixels).save(out, "PNG", pnginfo=texts, icc_profile=profile, compress_level=1)
    return out.getvalue()
