"""What one picture of a job is to be: plain values, so that the engine that makes it may be another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artflow.engine.control_unit import ControlPicture
from artflow.errors import ArtflowError
from artflow.images import Picture, Size
from artflow.prompts.loras import LoraUse

SAMPLERS = ("Euler", "Euler a", "DPM++ 2M Karras", "UniPC", "DDIM", "LCM")


def check_sampler(name: str) -> None:
    """Refuse what is no sampler.

    Raises:
        ArtflowError: ``unknown_sampler``, naming those there are.
    """
    if name not in SAMPLERS:
        allowed = ", ".join(SAMPLERS)
        raise ArtflowError("unknown_sampler", f"There is no sampler {name[:60]!r}; choose one of {allowed}.")


class NoiseRegion(NamedTuple):
    """Where in its seed's field of noise, without end, a picture begins, in latents."""

    row: int
    column: int


@dataclass(frozen=True, eq=False)
class ImageSpec:
    """One picture of a job.

    ``steps`` are run, however low the ``strength``; ``source`` is the picture to begin from at a strength below 1,
    ``uint8`` of ``size``; None: noise alone. ``mask``, ``uint8`` of ``size``, says where to paint (over 127), the rest
    stays; ``masked_image`` is the source with the painted part grey, for a model that is shown it
    (`ModelInfo.inpaints`). ``prediction_type`` is what the model predicts;
    ``auto``: as its file says. ``loras``: each name once. ``controls`` steer it, their maps are brought to ``size``.
    ``recipe`` comes back with the picture.
    """

    recipe: dict[str, Any]
    size: Size
    seed: int
    prompt: str
    negative_prompt: str
    steps: int
    guidance: float
    sampler: str
    strength: float = 1.0
    source: Picture | None = None
    mask: NDArray[np.uint8] | None = None
    masked_image: Picture | None = None
    noise_region: NoiseRegion | None = None
    prediction_type: str = "auto"
    loras: tuple[LoraUse, ...] = ()
    controls: tuple[ControlPicture, ...] = ()
