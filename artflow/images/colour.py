"""Colour profiles: from the colours of a file to sRGB, which models and screens are given, and back."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from artflow.images.size import Picture, bands

INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC  # what browsers use
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
LARGEST = 2**22  # bytes of a profile; printers' have half of that, and the last ones are kept
SAME = 1  # levels by which a profile may differ from sRGB and still be it
SPACES = {"RGB": "RGB ", "CMYK": "CMYK", "L": "GRAY"}  # the colour space of an ICC profile, by Pillow's mode


def to_srgb(pixels: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """Pixels of shape (height, width, 3 or 4) in the colours of an ICC profile, in sRGB; alpha stays as it is."""
    return pixels if profile is None else _converted(pixels, _transform(profile, "RGB"))


def from_srgb(pixels: NDArray[np.uint8], profile: bytes | None) -> NDArray[np.uint8]:
    """Pixels of shape (height, width, 3 or 4) in sRGB, in the colours of an ICC profile that `own_profile` gave."""
    return pixels if profile is None else _converted(pixels, _transform(profile, "RGB", back=True))


def own_profile(image: Image.Image) -> bytes | None:
    """The ICC profile of an RGB image's colours, if they differ from sRGB and sRGB can be converted to them.

    A profile that is broken, or of another colour space than the image, counts for nothing, as in browsers.
    """
    profile = _embedded(image, "RGB")
    return profile if profile is not None and not _is_srgb(profile) and _goes_back(profile) else None


def in_srgb(image: Image.Image) -> Image.Image:
    """A CMYK or grey image, or one of which `own_profile` is None, as RGB in sRGB."""
    mode = image.mode if image.mode in SPACES else "RGB"
    if image.mode not in SPACES:
        image = image.convert("RGB")
    profile = _embedded(image, mode)
    if profile is None or (mode == "RGB" and _is_srgb(profile)):
        return image.convert("RGB") if image.mode != "RGB" else image
    return _transform(profile, mode).apply(image)


def _embedded(image: Image.Image, mode: str) -> bytes | None:
    profile = image.info.get("icc_profile")
    return profile if profile and len(profile) <= LARGEST and _usable(profile, mode) else None


@lru_cache(maxsize=8)
def _usable(profile: bytes, mode: str) -> bool:
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
        return space == SPACES[mode] and _transform(profile, mode) is not None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


@lru_cache(maxsize=8)
def _goes_back(profile: bytes) -> bool:
    try:
        return _transform(profile, "RGB", back=True) is not None
    except ImageCms.PyCMSError:  # a scanner's, say
        return False


@lru_cache(maxsize=8)
def _is_srgb(profile: bytes) -> bool:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    return int(np.abs(to_srgb(colours, profile).astype(int) - colours).max()) <= SAME


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str, back: bool = False) -> ImageCms.ImageCmsTransform:
    own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    if back:
        return ImageCms.buildTransform(srgb, own, "RGB", mode, INTENT, FLAGS)
    return ImageCms.buildTransform(own, srgb, mode, "RGB", INTENT, FLAGS)


def _converted(pixels: NDArray[np.uint8], transform: ImageCms.ImageCmsTransform) -> Picture:
    result = pixels.copy()
    for rows in bands(*pixels.shape[:2]):
        image = Image.fromarray(np.ascontiguousarray(pixels[rows, :, :3]))
        result[rows, :, :3] = np.asarray(transform.apply(image))
    return result
