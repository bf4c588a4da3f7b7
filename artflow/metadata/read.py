"""Reading the generation parameters out of picture files.

PNG texts by their name; in JPEG and WebP the EXIF fields: UserComment (A1111) and descriptions that begin with
``artflow:``, ``prompt:`` or ``workflow:`` (ArtFlow, ComfyUI).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

from artflow.errors import ArtflowError
from artflow.images import opened
from artflow.metadata import a1111, artflow, comfyui
from artflow.metadata.values import Metadata

MAX_TEXT = 2_000_000  # characters of one text; longer ones are ignored
MOST_DECODED = 20_000_000  # pixels of a PNG; only up to so many are decoded to reach the texts after them
EXIF_MAKE = 0x010F
EXIF_MODEL = 0x0110
EXIF_DESCRIPTION = 0x010E


def read_metadata(data: bytes) -> Metadata:
    """The parameters in a PNG, JPEG or WebP file; of a huge PNG only what stands before its pixels.

    Raises:
        ArtflowError: ``bad_picture`` if it is no such file, ``no_parameters`` if it holds none that are understood.
    """
    texts = _texts(data)
    found = (
        artflow.read(texts.get("artflow", ""))
        or comfyui.read(texts.get("prompt", ""), texts.get("workflow", ""))
        or a1111.read(texts.get("parameters", ""))
    )
    if found is None:
        raise ArtflowError(
            "no_parameters",
            "This picture holds no settings that ArtFlow understands (its own, A1111 or ComfyUI); "
            "screenshots and pictures sent through chats lose them.",
        )
    return found


def carried_recipe(data: bytes) -> dict[str, Any]:
    """The recipe to hand on with pictures that are made from this one; empty where the file has no metadata."""
    try:
        found = read_metadata(data)
    except ArtflowError:
        return {}
    return {**found.values, "mode": found.mode}


def _texts(data: bytes) -> dict[str, str]:
    """The texts of a file by their PNG name; EXIF texts get the name of the dialect that they look like."""
    try:
        with opened(data) as image:
            texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
            exif: list[str] = []
            # Pillow reads PNG chunks after the pixels, EXIF among them, only when it decodes the pixels.
            if image.format != "PNG" or image.width * image.height <= MOST_DECODED:
                texts |= getattr(image, "text", {})
                exif = [text for value in _exif(image) if (text := _exif_text(value))]
    except ArtflowError:
        raise
    except Exception as error:  # noqa: BLE001 - broken files make Pillow raise nearly anything
        raise ArtflowError("bad_picture", f"The picture cannot be read: {error}.") from None
    for text in exif:
        name, _, rest = text.partition(":")
        if name.lower() in ("prompt", "workflow", "artflow") and rest.lstrip().startswith("{"):
            texts.setdefault(name.lower(), rest)
        else:
            texts.setdefault("parameters", text)
    return {key: str(value) for key, value in texts.items() if len(value) <= MAX_TEXT}


def _exif(image: Image.Image) -> Iterator[Any]:
    exif = image.getexif()
    yield exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    for tag in (EXIF_MODEL, EXIF_MAKE, EXIF_DESCRIPTION):
        yield exif.get(tag)


def _exif_text(value: Any) -> str:
    """An EXIF value as text. UserComment begins with its encoding's name; UNICODE is UTF-16 of either byte order."""
    if isinstance(value, str):
        return value if value.lower().startswith(("prompt:", "workflow:", "artflow:")) or "Steps: " in value else ""
    if not isinstance(value, bytes) or len(value) < 9:
        return ""
    code, body = value[:8], value[8:]
    if not code.startswith(b"UNICODE"):
        return body.decode("utf-8", "replace").rstrip("\0")
    order = "utf-16-be" if body[0::2].count(0) > body[1::2].count(0) else "utf-16-le"
    return body.decode(order, "replace").rstrip("\0").removeprefix("\ufeff")
