"""The stack of filters: reading it from JSON, and applying it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from artflow.errors import ArtflowError
from artflow.images import Picture, Size
from artflow.modes.alpha import joined, moved, split
from artflow.modes.filters.registry import FILTERS, Slider

MAX_LAYERS = 32
MAX_PIXELS = 68_000_000  # of any intermediate picture; several rotations can each enlarge it
DRAFT_PIXELS = 200 * 200  # of a slow filter's picture in a draft
PRESETS = Path(__file__).parents[3] / "presets" / "filters.yaml"


@dataclass(frozen=True)
class Layer:
    """One filter of a stack, with all of its parameters; an ``off`` one stays in the stack and does nothing."""

    filter: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on: bool = True


Stack = tuple[Layer, ...]


@dataclass(frozen=True)
class Preset:
    """A named stack."""

    title: str
    stack: Stack


def new_layer(name: str, parameters: Mapping[str, Any] | None = None, on: bool = True) -> Layer:
    """A layer with its parameters checked and completed.

    Raises:
        ArtflowError: ``bad_filter`` or ``bad_parameter``.
    """
    entry = FILTERS.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ArtflowError("bad_filter", f"There is no filter {str(name)[:40]!r}; there are: {', '.join(FILTERS)}.")
    return Layer(name, entry.check(parameters or {}), on)


def read_stack(value: Any) -> Stack:
    """A stack from JSON, as text or parsed; None and an empty text are the empty stack.

    Raises:
        ArtflowError: ``bad_stack``, ``bad_filter`` or ``bad_parameter``.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError) as error:
            raise ArtflowError("bad_stack", f"The stack of filters is no JSON: {error}.") from None
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ArtflowError("bad_stack", f"A stack of filters is a list, not {type(value).__name__}.")
    if len(value) > MAX_LAYERS:
        raise ArtflowError("bad_stack", f"The stack has {len(value)} filters; at most {MAX_LAYERS} are allowed.")
    return tuple(_read_layer(item) for item in value)


def _read_layer(item: Any) -> Layer:
    if not isinstance(item, dict) or not {"filter"} <= item.keys() <= {"filter", "parameters", "on"}:
        wanted = '{"filter": name, "parameters": {...}, "on": true}'
        raise ArtflowError("bad_stack", f"A filter in a stack looks like {wanted}, not {str(item)[:60]}.")
    parameters, on = item.get("parameters", {}), item.get("on", True)
    if not isinstance(parameters, dict) or not isinstance(on, bool):
        raise ArtflowError("bad_stack", f"`parameters` is an object and `on` is true or false, not {str(item)[:60]}.")
    return new_layer(item["filter"], parameters, on)


def as_json(stack: Stack) -> list[dict[str, Any]]:
    """The stack as `read_stack` reads it."""
    return [{"filter": layer.filter, "parameters": dict(layer.parameters), "on": layer.on} for layer in stack]


def apply(
    stack: Stack,
    picture: NDArray[np.uint8],
    *,
    scale: float = 1.0,
    draft: bool = False,
    longest: int | None = None,
    max_pixels: int = MAX_PIXELS,
    after_layer: Callable[[int], None] = lambda done: None,
) -> NDArray[np.uint8]:
    """The picture with the stack applied; ``picture`` itself is not changed.

    Args:
        stack: layers, the first one is applied first
        picture: any size, 3 or 4 channels, of which as many come back
        scale: size of ``picture`` over that of the full one, for parameters that count pixels
        draft: run neural filters on a small copy and enlarge the result
        longest: side in pixels at which all is done smaller, for a preview
        max_pixels: the limit of any intermediate picture, at full size; checked before it is made
        after_layer: gets the count of layers done; an exception of it ends the work

    Raises:
        ArtflowError: ``bad_parameter`` (a crop that leaves nothing ...), ``picture_too_large``, ``picture_too_small``,
            or ``not_installed`` where a filter needs a package.
    """
    picture, alpha = split(picture)
    for done, layer in enumerate(stack, 1):
        if layer.on:
            wanted = _size_after(layer, picture, scale)
            full = wanted.scaled(1 / scale, 1)
            if full.width * full.height > max_pixels:
                sentence = f"{FILTERS[layer.filter].title} would make the picture {full}, which is too large."
                raise ArtflowError("picture_too_large", sentence)
            if longest is not None and max(wanted) > longest:
                scale *= longest / max(wanted)
                # Who asks for pixels gets fewer by the scale alone; what grows with the picture needs a smaller one.
                if (side := max(_size_after(layer, picture, scale))) > longest + 1:
                    size = Size(picture.shape[1], picture.shape[0]).scaled(longest / side, 1)
                    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
                    alpha = None if alpha is None else cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
            if alpha is not None and FILTERS[layer.filter].moves:
                alpha = moved(alpha, partial(_apply_one, layer, scale=scale, draft=draft))
            picture = _apply_one(layer, picture, scale, draft)
            if FILTERS[layer.filter].cuts:
                alpha = picture[..., 3] if alpha is None else cv2.multiply(alpha, picture[..., 3], scale=1 / 255)
                picture = np.ascontiguousarray(picture[..., :3])
        after_layer(done)
    return joined(picture, alpha)


def _size_after(layer: Layer, picture: Picture, scale: float) -> Size:
    """The size that a layer will give the picture, or a few pixels more."""
    size, predict = Size(picture.shape[1], picture.shape[0]), FILTERS[layer.filter].size_after
    return size if predict is None else predict(size, **_values(layer, scale))


def _values(layer: Layer, scale: float) -> dict[str, Any]:
    """The parameters; those that count pixels as many as at this scale."""
    values = dict(layer.parameters)
    for name, about in FILTERS[layer.filter].parameters.items():
        if isinstance(about, Slider) and about.pixels and values[name]:
            values[name] = max(1, round(values[name] * scale))
    return values


def _apply_one(layer: Layer, picture: Picture, scale: float, draft: bool) -> Picture:
    entry = FILTERS[layer.filter]
    values = _values(layer, scale)
    size = Size(picture.shape[1], picture.shape[0])
    if not (draft and entry.slow):
        return entry.function(picture, **values)
    # Ten times as fast as `resized`, which would take a third of a draft's time.
    small = cv2.resize(picture, _draft_size(size, entry.least, scale), interpolation=cv2.INTER_AREA)
    return cv2.resize(entry.function(small, **values), size, interpolation=cv2.INTER_CUBIC)


def _draft_size(size: Size, least: int, scale: float) -> Size:
    """The size of a slow filter's input in a draft; narrow pictures are reduced less."""
    shorter = min(size)
    factor = min(1.0, math.sqrt(DRAFT_PIXELS / (size.width * size.height)))
    if shorter * factor < least:
        factor = min(least, math.ceil(shorter / scale)) / shorter
    return size.scaled(factor, 1)


@lru_cache(maxsize=1)
def load_presets(path: Path = PRESETS) -> dict[str, Preset]:
    """The presets by name.

    Raises:
        ArtflowError: ``bad_stack``, ``bad_filter`` or ``bad_parameter`` where the file holds something else.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: Preset(about["title"], read_stack(about["stack"])) for name, about in entries.items()}
