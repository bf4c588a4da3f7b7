"""The same stack over a live picture: applied to what is sent, so the model and its recipe know only its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.modes.filters.stack import apply, read_stack

LONGEST = 4000  # characters: the stack is part of the recipe, which goes out with every frame

Layers = Iterable[dict[str, Any]]


def check_live(filters: Layers | None) -> None:
    """Whether a live session can have this stack.

    Raises:
        ArtflowError: ``bad_stack``, ``bad_filter`` or ``bad_parameter``.
    """
    layers = list(filters or ())
    read_stack(layers)
    length = len(json.dumps(layers))
    if length > LONGEST:
        raise ArtflowError("bad_stack", f"The stack has {length} characters as JSON; live pictures take {LONGEST}.")


def filtered(picture: Picture, filters: Layers | None) -> Picture:
    """A live picture through its stack; as it is where the stack cannot be applied to it (too small to paint ...)."""
    if not filters:
        return picture
    try:
        return apply(read_stack(list(filters)), picture, draft=True)
    except ArtflowError:
        return picture
