"""Tiny picture files with the texts that programs put into them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_text(key, value, zip=len(value) > 500)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def as_gif() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "GIF")
    return out.getvalue()


def with_exif(kind: str, tags: dict[int, Any] | None = None, comment: bytes | None = None) -> bytes:
    exif = Image.Exif()
    for tag, value in (tags or {}).items():
        exif[tag] = value
    if comment is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind, exif=exif)
    return out.getvalue()


def with_raw_text(key: bytes, value: bytes) -> bytes:
    """A PNG whose tEXt chunk holds these bytes, whatever the format says of them."""
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", key + b"\0" + value)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def seconds(work: Callable[[], object]) -> float:
    """The processor's time that ``work`` takes, the best of three, since a busy machine makes any one longer."""
    taken = []
    for _ in range(3):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
        if taken[-1] < 0.5:
            break
    return min(taken)
