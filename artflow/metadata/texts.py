"""The texts that picture files hold, by the names that PNG files have for them.

PNG: text chunks, which programs fill with UTF-8 also where the format says Latin-1. Other files: EXIF (UserComment and
descriptions), the comment of a JPEG or GIF, XMP. A text without a name gets that of the dialect that it looks like.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import iTXt

from artflow.errors import ArtflowError
from artflow.images import opened
from artflow.metadata.values import json_object

MAX_TEXT = 2_000_000  # characters of one text; longer ones are ignored
MOST_TEXTS = 3_000_000  # characters of all; reading more would take more than a moment
MOST_DECODED = 20_000_000  # pixels of a PNG; only up to so many are decoded to reach the texts after them
CODES = (b"UNICODE\0", b"ASCII\0\0\0", b"JIS\0\0\0\0\0", b"Unicode\0", bytes(8))  # names of codes in UserComment
XMP = "XML:com.adobe.xmp"
MAKER_NOTE = 0x927C
# In the order in which they count; Fooocus writes UserComment into the main directory.
TAGS = (0x9286, 0x0110, 0x010F, 0x010E, 0x9C9C)  # UserComment, Model, Make, ImageDescription, XPComment
NAMED = ("prompt", "workflow", "artflow")  # names in front of a text: ``prompt:{...}``
# Texts in one JSON object of UserComment.
TOGETHER = ("Comment", "Description", "Software", "Source", "prompt", "workflow", "invokeai_metadata", "parameters")


def texts_of(data: bytes) -> dict[str, str]:
    """The texts of a picture file; of a huge PNG only what stands before its pixels.

    Raises:
        ArtflowError: ``bad_picture`` if it is no such file.
    """
    try:
        with opened(data) as image:
            info = {str(key): value for key, value in image.info.items()}
            unnamed: list[str] = []
            # Pillow reads PNG chunks after the pixels, EXIF among them, only when it decodes the pixels.
            if image.format != "PNG" or image.width * image.height <= MOST_DECODED:
                info |= getattr(image, "text", {})
                unnamed = [text for value in _exif(image) if (text := decoded(value))]
    except ArtflowError:
        raise
    except Exception as error:  # noqa: BLE001 - broken files make Pillow raise nearly anything
        raise ArtflowError("bad_picture", f"The picture cannot be read: {error}.") from None
    texts = {key: _of_png(value) for key, value in info.items() if isinstance(value, str)}
    if isinstance(comment := info.get("comment"), bytes):  # of a JPEG or GIF
        unnamed.append(decoded(comment))
    unnamed.append(_of_xmp((texts.pop(XMP, "") or decoded(info.get("xmp")))[:MAX_TEXT]))
    for text in unnamed:
        for name, value in _named(text[: MAX_TEXT + 100]):
            texts.setdefault(name, value)
    kept: dict[str, str] = {}
    room = MOST_TEXTS
    for key, value in texts.items():
        if len(value) <= min(room, MAX_TEXT):
            kept[key] = value
            room -= len(value)
    return kept


def decoded(value: Any) -> str:
    """An EXIF value as text: by its byte order mark, else as UTF-8, else as UTF-16 by where its zeros are.

    Programs write neither what the name of a code in front of UserComment says nor always such a name.
    """
    if isinstance(value, str):  # EXIF's ASCII, which Pillow takes for Latin-1
        return _of_latin(value).rstrip("\0")
    if isinstance(value, tuple) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    if not isinstance(value, bytes):
        return ""
    body = value[8:] if value[:8] in CODES else value
    for mark, code in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if body.startswith(mark):
            return body[len(mark) :].decode(code, "replace").rstrip("\0")
    plain = body.rstrip(b"\0")
    if b"\0" not in plain:
        try:
            return plain.decode("utf-8")
        except UnicodeDecodeError:
            pass
    even, odd = body[0::2].count(0), body[1::2].count(0)
    if not even and not odd:
        return body.decode("latin-1")
    return body.decode("utf-16-be" if even > odd else "utf-16-le", "replace").rstrip("\0")


def _of_png(text: str) -> str:
    return str(text) if isinstance(text, iTXt) else _of_latin(text)


def _of_latin(text: str) -> str:
    """A text that was read as Latin-1, as UTF-8 where its bytes are that."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return str(text)


def _exif(image: Image.Image) -> list[Any]:
    """The values that may hold settings; none where the EXIF is broken, beside which there may be other texts."""
    try:
        exif = image.getexif()
        inner = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
        return [inner, *(exif.get(tag) for tag in TAGS)]
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything
        return []


def _of_xmp(xmp: str) -> str:
    """XMP's UserComment, without an XML parser: hostile files make those work for long."""
    begin, end = xmp.find("<exif:UserComment"), xmp.find("</exif:UserComment>")
    if not 0 <= begin < end:
        return ""
    inside = xmp[begin:end]
    item, item_end = inside.find("<rdf:li"), inside.find("</rdf:li>")
    if 0 <= item < item_end:
        inside = inside[item:item_end]
    return html.unescape(inside.partition(">")[2])


def _named(text: str) -> Iterator[tuple[str, str]]:
    """A text that has no name of its own, under the names that the readers of dialects look for."""
    name, _, rest = text.partition(":")
    if name.lower() in NAMED and rest.lstrip().startswith("{"):
        yield name.lower(), rest
    elif not text.lstrip().startswith("{"):
        if "Steps:" in text or "Negative prompt:" in text:
            yield "parameters", text
    elif len(text) <= MAX_TEXT and (data := json_object(text)):
        together = [key for key in TOGETHER if isinstance(data.get(key), dict | str)]
        if "Comment" in data or isinstance(data.get("prompt"), dict) or isinstance(data.get("workflow"), dict):
            yield from ((key, _as_text(data[key])) for key in together)
        elif "invokeai_metadata" in data:
            yield "invokeai_metadata", _as_text(data["invokeai_metadata"])
        elif "c" in data and "sampler" in data:
            yield "drawthings", text
        elif isinstance(data.get("nodes"), list):
            yield "workflow", text
        elif any(isinstance(one, dict) and "class_type" in one for one in data.values()):  # Civitai's generator
            yield "prompt", text
        else:
            yield "parameters", text


def _as_text(value: Mapping[str, Any] | str) -> str:
    return value if isinstance(value, str) else json.dumps(value)
