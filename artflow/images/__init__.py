"""Pictures as values: sizes, decoding what people send, encoding what they get.

A `Picture` is a ``uint8`` array of shape (height, width, 3), RGB, sRGB: what models and people are shown. A `Photo` is
a picture in its file's own colours.
"""

from artflow.images.colour import from_srgb, to_srgb
from artflow.images.decode import Photo, decode, decode_photo, flattened, format_of, size_of
from artflow.images.encode import as_png, encode_jpeg
from artflow.images.files import NAMES, opened
from artflow.images.size import Picture, Size, bands, check_size, fit, reduced, resized

__all__ = [
    "NAMES",
    "Photo",
    "Picture",
    "Size",
    "as_png",
    "bands",
    "check_size",
    "decode",
    "decode_photo",
    "encode_jpeg",
    "fit",
    "flattened",
    "format_of",
    "from_srgb",
    "opened",
    "reduced",
    "resized",
    "size_of",
    "to_srgb",
]
