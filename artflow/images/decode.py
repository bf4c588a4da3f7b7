"""From files to pixels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images.colour import in_srgb, own_profile, to_srgb
from artflow.images.files import mended, opened, orientation
from artflow.images.size import Picture, Size, bands, reduced

T = TypeVar("T")


class Photo(NamedTuple):
    """A picture as its file has it.

    ``pixels``: ``uint8`` of shape (height, width, 3), or 4 channels where it is see-through, upright, in the colours of
    ``profile``: the bytes of an ICC profile for RGB; None is sRGB.
    """

    pixels: NDArray[np.uint8]
    profile: bytes | None


def decode(
    data: bytes,
    *,
    max_pixels: int,
    max_bytes: int | None = None,
    keep_alpha: bool = False,
    longest: int | None = None,
) -> NDArray[np.uint8]:
    """A file (one of `NAMES`) to a picture in sRGB, upright as browsers show it, on white where it was transparent.

    Of moving pictures it is the first one. With ``keep_alpha`` it is (height, width, 4), and as it was under what is
    transparent. With ``longest`` it is a copy of at most so many pixels a side (`Size.within`), for which a JPEG takes
    little time and memory. The size is read from the header and checked before any pixel is decoded.

    Raises:
        ArtflowError: ``picture_too_large`` or ``bad_picture``.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise ArtflowError("picture_too_large", f"The picture has {len(data)} bytes; at most {max_bytes} are allowed.")
    pixels = to_srgb(*_guarded(data, max_pixels, lambda image, data: _read(image, data, longest)))
    if keep_alpha:
        return pixels if pixels.shape[-1] == 4 else _opaque(pixels)
    return flattened(pixels)


def decode_photo(data: bytes, *, max_pixels: int) -> Photo:
    """A file in its own colours, as far as sRGB can be converted to them: RGB files that have a profile.

    Raises:
        ArtflowError: ``picture_too_large`` or ``bad_picture``.
    """
    pixels, profile = _guarded(data, max_pixels, lambda image, data: _read(image, data, None))
    if pixels.shape[-1] == 4 and pixels[..., 3].min() == 255:
        pixels = np.ascontiguousarray(pixels[..., :3])
    return Photo(pixels, profile)


def size_of(data: bytes, *, max_pixels: int) -> Size:
    """The size of a file's picture, upright, from its header.

    Raises:
        ArtflowError: ``picture_too_large`` or ``bad_picture``.
    """
    return _guarded(data, max_pixels, lambda image, _: _upright(image))


def format_of(data: bytes) -> str:
    """The format of a file, by Pillow's name, from its header.

    Raises:
        ArtflowError: ``bad_picture``.
    """
    return _guarded(data, sys.maxsize, lambda image, _: image.format or "")


def flattened(picture: NDArray[np.uint8]) -> Picture:
    """A picture of shape (height, width, 4) on white; one of 3 channels as it is."""
    if picture.shape[-1] == 3:
        return picture
    result = np.empty((*picture.shape[:2], 3), np.uint8)
    for rows in bands(*picture.shape[:2]):
        image = Image.fromarray(picture[rows])
        result[rows] = np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))[..., :3]
    return result


def _guarded(data: bytes, max_pixels: int, read: Callable[[Image.Image, bytes], T]) -> T:
    """What ``read`` makes of a file that is small enough; whatever the decoder raises is the sender's error."""
    try:
        data = mended(data)
        image = opened(data)
        if image.width * image.height > max_pixels:
            raise ArtflowError(
                "picture_too_large",
                f"The picture is {Size(*image.size)}; at most {max_pixels} pixels are allowed.",
            )
        return read(image, data)
    except ArtflowError:
        raise
    except Image.DecompressionBombError:
        raise ArtflowError("picture_too_large", f"The picture has over {max_pixels} pixels.") from None
    except Exception as error:  # noqa: BLE001 - broken files make Pillow raise nearly anything
        raise ArtflowError("bad_picture", f"The picture cannot be read: {error}.") from None


def _read(image: Image.Image, data: bytes, longest: int | None) -> tuple[NDArray[np.uint8], bytes | None]:
    """Upright pixels, with alpha where the file has it, and the profile of their colours."""
    turned, profile = orientation(image), own_profile(image) if image.mode in ("RGB", "RGBA", "P", "PA") else None
    pixels = _plain_jpeg(image, data, longest)
    if pixels is None:
        if longest is not None:
            image.draft(image.mode, Size(*image.size).within(longest))  # JPEG: decoded at 1/2, 1/4 or 1/8
        pixels = _pixels(image, profile)
    if longest is not None:
        pixels = reduced(pixels, longest)
    return _turned(pixels, turned), profile


def _plain_jpeg(image: Image.Image, data: bytes, longest: int | None) -> Picture | None:
    """The pixels of a grey or RGB JPEG; None for any other file, and for a broken one.

    They are Pillow's to the last bit. OpenCV takes half the time, and releases the interpreter's lock all the while.
    What it returns None for, Pillow reads or reports.
    """
    if image.format not in ("JPEG", "MPO") or image.mode not in ("L", "RGB") or longest is not None:
        return None
    if image.mode == "L" and "icc_profile" in image.info:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def _pixels(image: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    """Any Pillow image as ``uint8`` with 3 channels, or 4 where it has alpha; 16 bits become 8."""
    image = _of_bytes(image)
    alpha: Image.Image | None = None
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        alpha = with_alpha.getchannel("A")
        colours = image.getchannel("L") if image.mode in ("L", "LA") else with_alpha.convert("RGB")
        colours.info = image.info
        image = colours
    pixels = _array(in_srgb(image) if profile is None else image.convert("RGB"))
    return pixels if alpha is None else np.dstack([pixels, np.asarray(alpha)])


def _of_bytes(image: Image.Image) -> Image.Image:
    """The image with 16 bits of grey made 8, which Pillow itself would cut off at 255; any other as it is."""
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    unseen = image.info.get("transparency")  # one grey of the 65536
    if unseen is None:
        result = Image.fromarray(grey)
    else:
        result = Image.fromarray(np.dstack([grey, np.where(values == unseen, 0, 255).astype(np.uint8)]))
    result.info = {"icc_profile": image.info.get("icc_profile")}
    return result


def _array(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an image, without a second copy of them on the way."""
    image.load()
    pixels = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for rows in bands(image.height, image.width):
        pixels[rows] = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
    return pixels


def _opaque(picture: Picture) -> NDArray[np.uint8]:
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def _upright(image: Image.Image) -> Size:
    return Size(*(image.size if orientation(image) < 5 else image.size[::-1]))


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Pixels that were stored by an EXIF orientation, upright."""
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # as OpenCV counts them: 1 left to right, 0 up to down, -1 both
    if orientation < 5:
        return cv2.flip(pixels, flips[orientation]) if orientation in flips else pixels
    turned = cv2.transpose(pixels)
    return cv2.flip(turned, flips[orientation], dst=turned) if orientation in flips else turned
