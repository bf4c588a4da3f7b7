"""The kinds of models that can be run. A new one is a module with a subclass of `Model`, listed here.

Its class says what it recognises, what it checks before it is loaded, how it is placed on the device, and how its rows
are prepared, predicted and decoded. Scheduler and engine know none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artflow.models.families.sd import StableDiffusion
from artflow.models.families.sdxl import StableDiffusionXL
from artflow.models.families.unet import UNetModel

if TYPE_CHECKING:
    from artflow.models.parts import Parts

FAMILIES: tuple[type[UNetModel], ...] = (StableDiffusionXL, StableDiffusion)


def family_of(parts: Parts) -> type[UNetModel]:
    """The family that parts which were read belong to."""
    return next(family for family in FAMILIES if family.recognises(parts))
