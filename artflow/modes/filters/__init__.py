"""Filters: an ordered, non-destructive stack over a picture. A new filter is one small function.

A stack is JSON: a list of ``{"filter": name, "parameters": {...}, "on": true}``; `read_stack` checks it and `apply`
applies it. The functions are in `light`, `colour`, `detail`, `shape`, `painting` and `subject`.
"""

# Each of these adds its filters; their order is the order in the menu.
from artflow.modes.filters import light, colour, detail, shape, painting, subject  # noqa: F401, I001
from artflow.modes.filters.registry import FILTERS, Choice, Filter, Sample, Slider, Switch
from artflow.modes.filters.stack import (
    MAX_LAYERS,
    Layer,
    Preset,
    Stack,
    apply,
    as_json,
    load_presets,
    new_layer,
    read_stack,
)

__all__ = [
    "FILTERS", "MAX_LAYERS", "Choice", "Filter", "Layer", "Preset", "Sample", "Slider", "Stack", "Switch", "apply",
    "as_json", "load_presets", "new_layer", "read_stack",
]  # fmt: skip
