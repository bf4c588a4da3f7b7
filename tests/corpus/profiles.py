"""Small ICC profiles, byte by byte: of wide colours, of a printer, of grey."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Numbers = Sequence[float]
WHITE = (0.9642, 1.0, 0.8249)  # D50, to which all profiles refer

# Red, green and blue, adapted to D50.
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

# Lab of what a printer makes of ink that is full on or off: cyan, magenta, yellow, black in the bits of the index.
PAPER, CYAN, MAGENTA, YELLOW = (100, 0, 0), (55, -37, -50), (48, 74, -3), (89, -5, 93)
BLUE, GREEN, RED, DARK = (24, 22, -46), (50, -65, 27), (47, 68, 48), (20, 0, 0)
INKS = (PAPER, YELLOW, MAGENTA, RED, CYAN, GREEN, BLUE, DARK)


def of_rgb(colorants: Sequence[Numbers], curve: Numbers = SRGB_CURVE, padding: int = 0) -> bytes:
    """A display's profile.

    ``curve``: one gamma, or the five numbers of sRGB's kind; ``padding``: bytes of a tag that nobody knows.
    """
    tags = {f"{name}XYZ": _xyz(colour) for name, colour in zip("rgb", colorants, strict=True)}
    tags |= {f"{name}TRC": _curve(curve) for name in "rgb"}
    if padding:
        tags["junk"] = b"data" + bytes(8 + padding)
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def of_grey(gamma: float) -> bytes:
    """A profile of grey."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {"kTRC": _curve((gamma,))})


def of_cmyk() -> bytes:
    """A printer's profile, by a table with two points for each ink; black makes everything `DARK`."""
    table = bytearray()
    for index in range(16):  # the first ink, cyan, varies slowest
        light, a, b = DARK if index & 1 else INKS[index >> 1]
        table += bytes((round(light * 2.55), 128 + a, 128 + b))
    ramp = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + b"".join(map(_fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    return _profile(b"prtr", b"CMYK", b"Lab ", {"A2B0": head + 4 * ramp + bytes(table) + 3 * ramp})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[str, bytes]) -> bytes:
    text = "made up for a test".encode("utf-16-be")
    about = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
    tags = {"desc": about, "cprt": about, "wtpt": _xyz(WHITE), **tags}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", name.encode(), at + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s12s4sIIIIQI12s4s44s",
        at + len(body), b"test", 0x04000000, kind, space, connection, struct.pack(">6H", 2026, 1, 1, 0, 0, 0), b"acsp",
        0, 0, 0, 0, 0, 0, b"".join(map(_fixed, WHITE)), b"test", bytes(44),
    )  # fmt: skip
    return head + table + body


def _xyz(colour: Numbers) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, colour))


def _curve(numbers: Numbers) -> bytes:
    kind = {1: 0, 5: 3}[len(numbers)]
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, numbers))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
