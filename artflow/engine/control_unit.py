"""What a person may set of a control, and the picture that goes with it: values, which may cross to another process."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from artflow.images import Picture, Size, fit
from artflow.models.control_catalog import MapName

MOST_CONTROLS = 4  # on one picture

ControlMode = Literal["balanced", "prompt", "control"]


class ControlUnit(BaseModel):
    """One control of a picture.

    ``mode`` as Stable Diffusion web UI's extension has it: ``balanced``; ``prompt`` is more important: less of it near
    the picture; ``control`` is more important: the same, and not where guidance asks for the unconditional row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str = Field(max_length=60, title="Control", description="canny, scribble, depth ...")
    weight: float = Field(1.0, ge=0, le=2, title="Weight")
    start: float = Field(0.0, ge=0, le=1, title="Start", description="fraction of the steps")
    end: float = Field(1.0, ge=0, le=1, title="End", description="fraction of the steps")
    mode: ControlMode = Field("balanced", title="What counts more")
    preprocess: Literal["auto"] | MapName = Field(
        "auto", title="Map", description="auto: as the kind has it; none: the picture is the map"
    )

    @model_validator(mode="after")
    def _in_order(self) -> ControlUnit:
        if self.start > self.end:
            raise ValueError(f"start {self.start:g} has to be before end {self.end:g}")
        return self

    def acts_at(self, step: int, steps: int) -> bool:
        """Whether it counts in this step of so many, as in diffusers: steps that are wholly within its part."""
        return self.weight > 0 and self.start <= step / steps and (step + 1) / steps <= self.end


class ControlPicture(NamedTuple):
    """A control and its map, ``uint8`` of shape (height, width, 3)."""

    unit: ControlUnit
    map: Picture

    def sized(self, size: Size) -> ControlPicture:
        """The same at the size of the picture that it steers; its centre where the aspect differs."""
        return ControlPicture(self.unit, fit(self.map, size))
