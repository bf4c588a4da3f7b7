"""Pictures as values: sizes, decoding what people send, encoding what they get.

A picture inside ArtFlow is a ``uint8`` array of shape (height, width, 3), RGB, sRGB.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from artflow.errors import ArtflowError

Picture = NDArray[np.uint8]

# `decode` checks the size itself, and stricter. Not inside `decode`: filters are the whole process's, not a thread's.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FORMATS = ("JPEG", "PNG", "WEBP")


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"

    def scaled(self, factor: float, multiple: int) -> Size:
        """This size times ``factor``, each side rounded to a multiple (at least one)."""
        return Size(*(max(multiple, round(side * factor / multiple) * multiple) for side in self))


def check_size(width: int, height: int, *, multiple: int, longest: int) -> Size:
    """The size a model can make.

    Raises:
        ArtflowError: ``bad_size`` if a side is no multiple of ``multiple`` (the sentence names the nearest sizes
            that are), below two multiples, or over ``longest``.
    """
    for name, side in (("width", width), ("height", height)):
        if not 2 * multiple <= side <= longest:
            raise ArtflowError("bad_size", f"{name} {side} is not allowed: from {2 * multiple} to {longest} pixels.")
        if side % multiple:
            below = side // multiple * multiple
            raise ArtflowError(
                "bad_size",
                f"{name} {side} is not a multiple of {multiple}: the nearest are {below} and {below + multiple}.",
            )
    return Size(width, height)


def decode(
    data: bytes, *, max_pixels: int, max_bytes: int | None = None, keep_alpha: bool = False
) -> NDArray[np.uint8]:
    """A JPEG, PNG or WebP file to a picture, upright (EXIF) and on white where it was transparent.

    With ``keep_alpha`` it is (height, width, 4), and as it was under what is transparent. The size is read from the
    header and checked before any pixel is decoded.

    Raises:
        ArtflowError: ``picture_too_large`` or ``bad_picture``.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise ArtflowError("picture_too_large", f"The picture has {len(data)} bytes; at most {max_bytes} are allowed.")
    try:
        image = opened(data)
        if image.width * image.height > max_pixels:
            raise ArtflowError(
                "picture_too_large",
                f"The picture is {Size(*image.size)}; at most {max_pixels} pixels are allowed.",
            )
        if (pixels := _plain_jpeg(image, data)) is not None:
            return _opaque(pixels) if keep_alpha else pixels
        image = ImageOps.exif_transpose(image)
        return to_rgba(image) if keep_alpha else to_rgb(image)
    except ArtflowError:
        raise
    except Image.DecompressionBombError:
        raise ArtflowError("picture_too_large", f"The picture has over {max_pixels} pixels.") from None
    except Exception as error:  # noqa: BLE001 - broken files make Pillow raise nearly anything
        raise ArtflowError("bad_picture", f"The picture cannot be read: {error}.") from None


def _plain_jpeg(image: Image.Image, data: bytes) -> Picture | None:
    """The pixels of an upright grey or RGB JPEG; None for any other file, and for a broken one.

    The pixels are Pillow's to the last bit. OpenCV takes half the time, and releases the interpreter's lock all the
    while. What it returns None for, Pillow reads or reports.
    """
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def opened(data: bytes) -> Image.Image:
    """A JPEG, PNG or WebP file of which the header is read, no pixel yet; broken ones raise nearly anything.

    Raises:
        ArtflowError: ``bad_picture`` if it is none of these.
    """
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:  # whose own words name the Python object that was read from
        raise ArtflowError("bad_picture", f"These {len(data)} bytes are no {', '.join(FORMATS)} picture.") from None


def to_rgb(image: Image.Image) -> Picture:
    """Any Pillow image as a picture; transparency becomes white, 16 bits become 8."""
    image = _of_bytes(image)
    if _see_through(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def to_rgba(image: Image.Image) -> NDArray[np.uint8]:
    """Any Pillow image as ``uint8`` of shape (height, width, 4), opaque where it says nothing of transparency."""
    image = _of_bytes(image)
    if _see_through(image):
        return np.array(image.convert("RGBA"))
    return _opaque(to_rgb(image))


def _opaque(picture: Picture) -> NDArray[np.uint8]:
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def flattened(picture: NDArray[np.uint8]) -> Picture:
    """A picture of shape (height, width, 4) on white; one of 3 channels as it is."""
    return to_rgb(Image.fromarray(picture)) if picture.shape[-1] == 4 else picture


def _of_bytes(image: Image.Image) -> Image.Image:
    """The image with 16 bits of grey made 8, which Pillow itself would cut off at 255; any other as it is."""
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    unseen = image.info.get("transparency")  # one grey of the 65536
    if unseen is None:
        return Image.fromarray(grey)
    return Image.fromarray(np.dstack([grey, np.where(values == unseen, 0, 255).astype(np.uint8)]))


def _see_through(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def fit(picture: Picture, size: Size) -> Picture:
    """The largest centred part with the aspect of ``size``, resized to it."""
    if picture.shape[:2] == (size.height, size.width):
        return picture
    return np.asarray(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.BILINEAR))


def resized(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture or mask at another size, Lanczos; its aspect may change."""
    if picture.shape[:2] == (size.height, size.width):
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def encode_jpeg(picture: Picture, quality: int) -> bytes:
    """JPEG bytes; ``quality`` 1 to 100. Full colour resolution from 90 on.

    By OpenCV, since Pillow's encoder holds the interpreter's lock and so stops every other thread.
    """
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if quality >= 90 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    _, file = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    return file.tobytes()
