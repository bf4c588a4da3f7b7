"""What a person may set in a live session. The modes give each field its default; sockets and sliders fill it in."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from artflow.engine.control_unit import MOST_CONTROLS, ControlUnit
from artflow.prompts.loras import Loras
from artflow.settings import MaxFps

MAX_SEED = 2**53 - 1  # what JavaScript counts to
MAX_STEPS = 8

Prediction = Literal["auto", "epsilon", "v_prediction"]
CfgType = Literal["none", "self", "initialize", "full"]


def random_seed() -> int:
    """What -1 stands for: short enough to be copied by hand."""
    return secrets.randbelow(2**32)


class LiveParams(BaseModel):
    """One session's settings, a value that never changes: new settings are a new value, valid from the next frame."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    prompt: str = Field("", title="Prompt")
    negative_prompt: str = Field("", title="Negative prompt")
    prompt_b: str = Field("", title="Second prompt", description="for Blend; empty: none")
    blend: float = Field(0.0, ge=0, le=1, title="Blend", description="0: the first prompt and seed; 1: the second")
    style_picture: str = Field(
        "", max_length=400, title="Style of a picture", description="for Painter, as the page reads it from a picture"
    )
    loras: Loras = Field(
        default_factory=dict, title="LoRAs", description="weights by name, -2 to 2; more in the prompt: <lora:name:0.8>"
    )
    transition: float = Field(0.0, ge=0, le=30, title="Crossfade", description="seconds to blend into a new prompt")
    seed: int = Field(2, ge=-1, le=MAX_SEED, title="Seed", description="-1: a random one, shown in the recipe")
    seed_b: int | None = Field(None, ge=0, le=MAX_SEED, title="Second seed", description="for Blend")
    steps: int = Field(
        2, ge=1, le=MAX_STEPS, title="Steps", validation_alias=AliasChoices("steps", "num_inference_steps")
    )
    strength: float = Field(
        0.5, ge=0, le=1, title="Strength", description="0 keeps the input, 1 replaces it",
        validation_alias=AliasChoices("strength", "denoise"),
    )  # fmt: skip
    t_index_list: tuple[int, ...] | None = Field(
        None, title="Step indices", description="of the 50-step grid; overrides steps and strength"
    )
    cfg_type: CfgType = Field("none", title="Guidance type")
    guidance_scale: float = Field(
        1.0, ge=0, le=20, title="Guidance", validation_alias=AliasChoices("guidance_scale", "cfg_scale", "cfg")
    )
    delta: float = Field(1.0, ge=0, le=2, title="Delta")
    prediction_type: Prediction = Field("auto", title="Prediction", description="auto: as the model's file says")
    model: str = Field(
        "", max_length=200, title="Model", description="an id of the catalog; empty: chosen by the prompt"
    )
    width: int = Field(0, ge=0, le=8192, title="Width", description="0: the model's own")
    height: int = Field(0, ge=0, le=8192, title="Height", description="0: the model's own")
    priority: Literal["latency", "quality"] = Field("latency", title="Priority")
    enable_similar_image_filter: bool = Field(False, title="Similar image filter")
    similar_image_filter_threshold: float = Field(0.98, ge=0, le=1, title="Similarity threshold")
    similar_image_filter_max_skip_frame: int = Field(10, ge=0, le=10_000, title="Skipped frames, at most")
    control: tuple[ControlUnit, ...] = Field(
        (), max_length=MOST_CONTROLS, title="Control", description="what steers the picture by its own lines"
    )
    filters: tuple[dict[str, Any], ...] | None = Field(
        None, title="Filters", description="a stack of filters over the picture that is shown"
    )
    max_fps: MaxFps = Field(0, title="Max FPS", description="0: no limit")
    jpeg_quality: int = Field(85, ge=1, le=100, title="JPEG quality")

    def same_pictures(self, other: LiveParams) -> bool:
        """Whether equal frames would give equal pictures: only fields about the flow differ."""
        return self._about_pictures() == other._about_pictures()

    def _about_pictures(self) -> dict:
        return self.model_dump(exclude=FLOW_FIELDS)


FLOW_FIELDS = {
    "priority",
    "enable_similar_image_filter",
    "similar_image_filter_threshold",
    "similar_image_filter_max_skip_frame",
    "max_fps",
    "jpeg_quality",
}
