"""Small made-up picture files of every kind that people bring, and how each of them looks.

All show the same: 48 x 32 pixels, a block of one colour, `BLOCK`, in the upper left corner, the rest `PAPER`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import artflow.images  # noqa: F401 - it lets Pillow read and write HEIC
from tests.corpus import profiles

Colour = tuple[int, int, int]

BLOCK: Colour = (200, 100, 50)
PAPER: Colour = (240, 240, 240)
LYING, STANDING = (48, 32), (32, 48)

# What `BLOCK` is in sRGB when it is meant in other colours, by the formulas of the standards and not by a library.
BLOCK_OF_P3: Colour = (215, 93, 31)
BLOCK_OF_ADOBE: Colour = (227, 100, 42)
LINEAR_GREY = (188, 188, 188)  # 128 where grey counts light


@dataclass(frozen=True)
class Case:
    """A file and what must be seen of it: its size, and the colours of its block and its paper, in sRGB.

    ``within``: levels by which they may differ, since JPEG and its like round. ``media_type``: what browsers call it;
    empty where they do not show it.
    """

    data: bytes
    media_type: str
    block: Colour = BLOCK
    paper: Colour = PAPER
    size: tuple[int, int] = LYING
    within: int = 1


def scene(mode: str = "RGB", block: Any = BLOCK, paper: Any = PAPER) -> Image.Image:
    """The picture that all files show."""
    image = Image.new(mode, LYING, paper)
    image.paste(block, (0, 0, 16, 8))
    return image


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A file; JPEG and its like are as exact as they can be."""
    exact = {"JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
    exact |= {"HEIF": {"quality": 100, "chroma": 444}, "WEBP": {"lossless": True, "exact": True}}
    out = io.BytesIO()
    image.save(out, kind, **exact.get(kind, {}) | options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png: bytes, new: bytes, *, late: bool = False) -> bytes:
    """A PNG with one more chunk, before its pixels or after them."""
    at = len(png) - 12 if late else 33
    return png[:at] + new + png[at:]


def turned_on_its_side() -> bytes:
    """EXIF that says: show it turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def xmp_on_its_side() -> bytes:
    """XMP that says the same, which browsers do not heed."""
    about = 'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    syntax = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    inside = f'<rdf:RDF {syntax}><rdf:Description rdf:about="" {about}/></rdf:RDF>'
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{inside}</x:xmpmeta>'.encode()


P3, ADOBE = profiles.of_rgb(profiles.DISPLAY_P3), profiles.of_rgb(profiles.ADOBE_RGB, (2.19921875,))
PNG, JPEG, WEBP, AVIF, GIF, BMP = (f"image/{name}" for name in ("png", "jpeg", "webp", "avif", "gif", "bmp"))
UNSHOWN = ""


def in_colours(kind: str, media_type: str, profile: bytes, block: Colour, **about: Any) -> Case:
    return Case(saved(scene(), kind, icc_profile=profile), media_type, block, **{"within": 2} | about)


def see_through_in_p3() -> Case:
    image = scene("RGBA", (*BLOCK, 255), (*PAPER, 0))
    return Case(saved(image, "PNG", icc_profile=P3), PNG, BLOCK_OF_P3, (255, 255, 255), within=2)


def palette_in_p3() -> Case:
    image = scene().quantize(2)
    return Case(saved(image, "PNG", icc_profile=P3), PNG, BLOCK_OF_P3, within=2)


def grey(mode: str, kind: str, media_type: str) -> Case:
    """Grey that counts light, not what the eye sees."""
    block, paper = {"L": (128, 255), "LA": ((128, 255), (255, 255))}[mode]
    data = saved(scene(mode, block, paper), kind, icc_profile=profiles.of_grey(1.0))
    return Case(data, media_type, LINEAR_GREY, (255, 255, 255), within=2)


def cmyk(profile: bytes | None) -> Case:
    """Full cyan on paper without ink."""
    data = saved(scene("CMYK", (255, 0, 0, 0), (0, 0, 0, 0)), "JPEG", icc_profile=profile)
    if profile is None:
        return Case(data, JPEG, (0, 255, 255), (255, 255, 255), within=2)
    return Case(data, JPEG, (0, 151, 218), (255, 255, 255), within=2)  # Lab(55, -37, -50)


def moving(kind: str, media_type: str, **options: Any) -> Case:
    """The first of two pictures counts."""
    last = Image.new("RGB", LYING, "blue")
    data = saved(scene(), kind, save_all=True, append_images=[last], **options)
    return Case(data, media_type, within=2)


def two_in_a_jpeg() -> Case:
    """A photo of a camera that puts a preview after it (MPO)."""
    data = saved(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", LYING, "blue")], quality=100)
    return Case(data, JPEG, within=3)


def big_profile() -> Case:
    profile = profiles.of_rgb(profiles.DISPLAY_P3, padding=1_500_000)
    return Case(saved(scene(), "PNG", icc_profile=profile), PNG, BLOCK_OF_P3, within=2)


def long_text(*, late: bool) -> Case:
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"x" * 1_200_000))
    return Case(with_chunk(saved(scene(), "PNG"), text, late=late), PNG)


def endless_text() -> Case:
    """A text that would take 100 MB."""
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(100_000_000)))
    return Case(with_chunk(saved(scene(), "PNG"), text), PNG)


def cut(data: bytes, count: int) -> bytes:
    """A download that ended early."""
    return data[:-count]


def noisy_jpeg() -> bytes:
    """A JPEG whose last bytes are pixels of the lower right corner."""
    pixels = np.array(scene())
    pixels[24:, 32:] = np.random.default_rng(1).integers(200, 256, (8, 16, 3))
    return saved(Image.fromarray(pixels), "JPEG")


def on_its_side(kind: str, media_type: str, *, heeded: bool, within: int = 2, **options: Any) -> Case:
    """A picture that is stored lying, and says that it stands."""
    data = saved(scene(), kind, **options or {"exif": turned_on_its_side()})
    return Case(data, media_type, size=STANDING if heeded else LYING, within=within)


def png_on_its_side_by_xmp() -> Case:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp_on_its_side().decode())
    return on_its_side("PNG", PNG, heeded=False, pnginfo=texts)


def png_on_its_side_too_late() -> Case:
    exif = chunk(b"eXIf", turned_on_its_side().removeprefix(b"Exif\0\0"))
    return Case(with_chunk(saved(scene(), "PNG"), exif, late=True), PNG)


def damaged_checksum() -> Case:
    broken = chunk(b"eXIf", turned_on_its_side().removeprefix(b"Exif\0\0"))[:-1] + b"?"
    return Case(with_chunk(saved(scene(), "PNG"), broken), PNG)


def deep_tiff() -> Case:
    grey = np.full(LYING[::-1], 0xF0F0, np.uint16)
    grey[:8, :16] = 0x6464
    return Case(saved(Image.fromarray(grey), "TIFF"), UNSHOWN, (100, 100, 100))


CASES: dict[str, Callable[[], Case]] = {
    "p3.jpg": lambda: in_colours("JPEG", JPEG, P3, BLOCK_OF_P3, within=3),
    "p3.png": lambda: in_colours("PNG", PNG, P3, BLOCK_OF_P3),
    "p3.webp": lambda: in_colours("WEBP", WEBP, P3, BLOCK_OF_P3),
    "p3.avif": lambda: in_colours("AVIF", AVIF, P3, BLOCK_OF_P3, within=4),
    "p3.heic": lambda: in_colours("HEIF", UNSHOWN, P3, BLOCK_OF_P3, within=4),
    "p3.tiff": lambda: in_colours("TIFF", UNSHOWN, P3, BLOCK_OF_P3),
    "p3-see-through.png": see_through_in_p3,
    "p3-palette.png": palette_in_p3,
    "adobe-rgb.jpg": lambda: in_colours("JPEG", JPEG, ADOBE, BLOCK_OF_ADOBE, within=3),
    "adobe-rgb.png": lambda: in_colours("PNG", PNG, ADOBE, BLOCK_OF_ADOBE),
    "srgb-by-name.png": lambda: in_colours("PNG", PNG, profiles.of_rgb(profiles.SRGB), BLOCK),
    "a-printers-profile-in-rgb.png": lambda: in_colours("PNG", PNG, profiles.of_cmyk(), BLOCK),
    "no-profile-at-all.png": lambda: in_colours("PNG", PNG, b"not a profile", BLOCK),
    "half-a-profile.jpg": lambda: in_colours("JPEG", JPEG, P3[:200], BLOCK, within=3),
    "grey-profile.png": lambda: grey("L", "PNG", PNG),
    "grey-profile.jpg": lambda: grey("L", "JPEG", JPEG),
    "grey-profile-see-through.png": lambda: grey("LA", "PNG", PNG),
    "cmyk.jpg": lambda: cmyk(None),
    "cmyk-profile.jpg": lambda: cmyk(profiles.of_cmyk()),
    "plain.avif": lambda: Case(saved(scene(), "AVIF"), AVIF, within=3),
    "plain.heic": lambda: Case(saved(scene(), "HEIF"), UNSHOWN, within=3),
    "plain.gif": lambda: Case(saved(scene(), "GIF"), GIF),
    "plain.bmp": lambda: Case(saved(scene(), "BMP"), BMP),
    "plain.tiff": lambda: Case(saved(scene(), "TIFF", compression="tiff_lzw"), UNSHOWN),
    "deep.tiff": deep_tiff,
    "cmyk.tiff": lambda: Case(
        saved(scene("CMYK", (255, 0, 0, 0), (0, 0, 0, 0)), "TIFF"), UNSHOWN, (0, 255, 255), (255, 255, 255)
    ),
    "moving.gif": lambda: moving("GIF", GIF),
    "moving.png": lambda: moving("PNG", PNG, duration=60_000),
    "moving.webp": lambda: moving("WEBP", WEBP, duration=60_000),
    "two-pictures.jpg": two_in_a_jpeg,
    "profile-of-1.5-MB.png": big_profile,
    "text-of-1.2-MB.png": lambda: long_text(late=False),
    "text-of-1.2-MB-at-the-end.png": lambda: long_text(late=True),
    "text-of-100-MB.png": endless_text,
    "exif-is-no-tiff.png": lambda: Case(with_chunk(saved(scene(), "PNG"), chunk(b"eXIf", b"nothing here")), PNG),
    "exif-is-no-tiff.jpg": lambda: Case(saved(scene(), "JPEG", exif=b"Exif\0\0nothing here"), JPEG, within=3),
    "exif-is-no-tiff.webp": lambda: Case(saved(scene(), "WEBP", exif=b"Exif\0\0nothing here"), WEBP),
    "a-chunk-is-damaged.png": damaged_checksum,
    "cut-by-20-bytes.jpg": lambda: Case(cut(noisy_jpeg(), 20), JPEG, within=3),
    "cut-by-2-bytes.jpg": lambda: Case(cut(noisy_jpeg(), 2), JPEG, within=3),
    "on-its-side.jpg": lambda: on_its_side("JPEG", JPEG, heeded=True, within=3),
    "on-its-side.png": lambda: on_its_side("PNG", PNG, heeded=True),
    "on-its-side.avif": lambda: on_its_side("AVIF", AVIF, heeded=True, within=3),
    "on-its-side.heic": lambda: on_its_side("HEIF", UNSHOWN, heeded=True, within=3),
    "on-its-side.tiff": lambda: on_its_side("TIFF", UNSHOWN, heeded=True),
    "on-its-side.webp": lambda: on_its_side("WEBP", WEBP, heeded=False),
    "on-its-side-at-the-end.png": png_on_its_side_too_late,
    "on-its-side-by-xmp.jpg": lambda: on_its_side("JPEG", JPEG, heeded=False, within=3, xmp=xmp_on_its_side()),
    "on-its-side-by-xmp.png": png_on_its_side_by_xmp,
    "on-its-side-by-xmp.webp": lambda: on_its_side("WEBP", WEBP, heeded=False, xmp=xmp_on_its_side()),
    "on-its-side-by-xmp.avif": lambda: on_its_side("AVIF", AVIF, heeded=False, within=3, xmp=xmp_on_its_side()),
}
