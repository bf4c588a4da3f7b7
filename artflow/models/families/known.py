"""The kinds of models that can be run. A new one is a module with a subclass of `Model`; those of diffusers' parts are
listed below.

Its class says what it recognises, how its checkpoints are read, what it checks before it is loaded, how it is placed on
the device, and how its rows are prepared, predicted and decoded. Neither loader nor scheduler nor engine knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from artflow.models.families.checkpoint import CheckpointKind, Shapes
from artflow.models.families.sd import StableDiffusion
from artflow.models.families.sdxl import StableDiffusionXL
from artflow.models.families.unet import UNetModel

if TYPE_CHECKING:
    from artflow.models.parts import Parts

FAMILIES: tuple[type[UNetModel], ...] = (StableDiffusionXL, StableDiffusion)


def family_of(parts: Parts) -> type[UNetModel]:
    """The family that parts which were read belong to."""
    return next(family for family in FAMILIES if family.recognises(parts))


def checkpoint_kind(model: str, shapes: Shapes) -> CheckpointKind | None:
    """How a single file with these tensors is read, as the first family says that knows it; None where none does.

    Raises:
        ArtflowError: ``model_load_failed`` where a family knows it, and ``model`` cannot make pictures.
    """
    kinds = (family.checkpoint_kind(model, shapes) for family in FAMILIES)
    return next((kind for kind in kinds if kind is not None), None)
