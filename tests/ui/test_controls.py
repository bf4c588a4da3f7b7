"""Controls that are built from parameters."""

from __future__ import annotations

from artflow.modes.text import TextParams
from artflow.ui.controls import ParamControls


def test_a_shortened_slider_still_reaches_the_operators_default() -> None:
    """Gradio would refuse the tab's own value otherwise."""
    controls = ParamControls(TextParams(steps=60, width=32))
    steps, width = controls.add("steps", maximum=50), controls.add("width", minimum=64, maximum=1024)
    assert (steps.maximum, steps.value) == (60, 60)
    assert (width.minimum, width.maximum, width.value) == (32, 1024, 32)
