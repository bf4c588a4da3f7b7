"""What one picture of a job is asked to be, in values alone: it can be written down, and sent to another process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artflow.images import Picture, Size


@dataclass(frozen=True)
class NoiseRegion:
    """Where a picture's noise is cut out of the noise of a larger one, so that neighbours draw the same in what they
    share. All in latent pixels: the field's height and width, and the row and column of the upper left corner."""

    field: tuple[int, int]
    at: tuple[int, int]


@dataclass(frozen=True)
class ImageSpec:
    """One picture of a job.

    With ``source`` (a picture of ``size``) the first part of the steps is left out, as diffusers' img2img does:
    ``strength`` 0 to 1 is the share that is run, and the schedule is made longer, so that ``steps`` are run as far as
    the sampler has them. With ``mask`` (uint8 of that size, over 127 where to paint) only that part is made anew, and
    ``masked_image`` is the picture without it, for models that are shown it.
    """

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
    recipe: dict[str, Any] = field(default_factory=dict)
    """What the picture says of itself."""
