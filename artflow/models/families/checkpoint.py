"""What a family says of its checkpoints: single files in the layout of the original Stable Diffusion code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from diffusers import UNet2DConditionModel

Shapes = Mapping[str, tuple[int, ...]]
"""The tensors of a file: name to shape."""


@dataclass(frozen=True)
class CheckpointKind:
    """One kind of checkpoint, and what the file itself does not say of it."""

    config: str
    """The folder of ``configs/`` that describes it."""
    text_encoders: tuple[Any, ...]
    """The class of each text encoder."""
    pad_tokens: tuple[str, ...]
    """What the tokenizer of each text encoder pads prompts with."""
    prediction_of: Callable[[UNet2DConditionModel], str] | None = None
    """Finds out by a test run what a UNet predicts, for a kind of which there are several."""
