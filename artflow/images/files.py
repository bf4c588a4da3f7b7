"""Picture files: which ones are opened, what is mended in them first, and which way up they are shown."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator

from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from pillow_heif import register_heif_opener

from artflow.errors import ArtflowError

register_heif_opener()

# `decode` checks the size itself, and stricter. Not inside `decode`: filters are the whole process's, not a thread's.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# Of one profile or text of a PNG, unpacked. Pillow's own 1 MiB is less than what printers' profiles and graphs take.
PngImagePlugin.MAX_TEXT_CHUNK = 2**24

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP")
NAMES = "JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF or BMP"

# Where browsers turn a picture by its EXIF. Not in WebP; HEIC and TIFF are turned by what decodes them, and AVIF's says
# what its container does.
TURNED = ("JPEG", "MPO", "PNG", "AVIF")

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"IDAT", b"IEND")  # chunks that say how pixels look


def opened(data: bytes) -> Image.Image:
    """A file of which the header is read, no pixel yet; broken ones raise nearly anything.

    Raises:
        ArtflowError: ``bad_picture`` if it is none of `FORMATS`.
    """
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:  # whose own words name the Python object that was read from
        raise ArtflowError("bad_picture", f"These {len(data)} bytes are no {NAMES} picture.") from None


def mended(data: bytes) -> bytes:
    """The file with what keeps Pillow, and no browser, from its pixels set right.

    A JPEG that lacks its end gets one: what is missing of it is grey. A PNG is left with the chunks that concern its
    pixels, so that it does not matter what others hold.
    """
    if data.startswith(JPEG_START) and not data.endswith(JPEG_END):
        return data + JPEG_END
    if data.startswith(PNG_START):
        kept = [memoryview(PNG_START), *_chunks(memoryview(data))]
        return data if sum(map(len, kept)) == len(data) else b"".join(kept)
    return data


def _chunks(data: memoryview) -> Iterator[memoryview]:
    at = len(PNG_START)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        optional = kind[:1].islower()  # these are as if they were not there where they are damaged
        if kind in PNG_PIXELS and not (optional and data[end - 4 : end] != _checksum(data[at + 4 : end - 4])):
            yield data[at:end]
        at = end


def _checksum(chunk: memoryview) -> bytes:
    return struct.pack(">I", zlib.crc32(chunk))


def orientation(image: Image.Image) -> int:
    """The EXIF orientation (1 to 8) by which browsers turn this picture; call it before its pixels are decoded.

    Pillow's own `getexif` also believes XMP, and PNG chunks that come after the pixels; browsers do neither.
    """
    if image.format not in TURNED or not (data := image.info.get("exif")):
        return 1
    exif = Image.Exif()
    try:
        exif.load(data)
        found = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - broken EXIF makes Pillow raise nearly anything; browsers ignore it
        return 1
    return found if found in range(1, 9) else 1
