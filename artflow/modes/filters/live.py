"""Filters of live pictures: applied to results before they are sent; the recipe has the stack's JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from artflow.errors import ArtflowError
from artflow.images import Picture, flattened
from artflow.modes.filters.stack import apply, read_stack

SECONDS = 1.0  # that a stack may take for a frame; after that the next one is long due
LONGEST = 4000  # characters; the stack is in the recipe that is sent with every frame

Layers = Iterable[dict[str, Any]]


def check_live(filters: Layers | None, longest: int) -> None:
    """Check a stack for a live session with pictures of at most ``longest`` pixels a side.

    Raises:
        ArtflowError: ``bad_stack``, ``bad_filter`` or ``bad_parameter``.
    """
    layers = list(filters or ())
    for layer in read_stack(layers):
        if layer.filter == "resize" and max(layer.parameters["width"], layer.parameters["height"]) > longest:
            raise ArtflowError("bad_parameter", f"Resize: live pictures have {longest} pixels a side at most.")
    length = len(json.dumps(layers))
    if length > LONGEST:
        raise ArtflowError("bad_stack", f"The stack has {length} characters as JSON; live pictures take {LONGEST}.")


def filtered(picture: Picture, filters: Layers | None, longest: int) -> Picture:
    """Apply a stack to a live picture; what it cuts out is on white.

    At most 2 * ``longest`` ** 2 pixels in between, since rotation can double them.

    Raises:
        ArtflowError: ``too_slow`` after `SECONDS`, or where the stack cannot be applied to it (too small to paint ...).
    """
    if not filters:
        return picture
    stack, end = read_stack(list(filters)), time.monotonic() + SECONDS

    def in_time(done: int) -> None:
        if done < len(stack) and time.monotonic() > end:
            sentence = f"{done} of the {len(stack)} filters took over {SECONDS:g} s for one frame; take some off."
            raise ArtflowError("too_slow", sentence)

    return flattened(apply(stack, picture, draft=True, max_pixels=2 * longest**2, after_layer=in_time))
