"""Text to image with the samplers of `diffusers`, and the parameters of all jobs."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from artflow.engine.control_unit import MOST_CONTROLS, ControlPicture, ControlUnit
from artflow.engine.image_spec import SAMPLERS, ImageSpec
from artflow.engine.params import MAX_SEED, Prediction, random_seed
from artflow.images import Size, check_size
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelInfo
from artflow.modes.schema import merged
from artflow.prompts.loras import Loras, LoraUse, asked, listed, split
from artflow.prompts.vocabulary import load_vocabulary


class JobParams(BaseModel):
    """Parameters of all generating jobs."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, coerce_numbers_to_str=True
    )

    prompt: str = Field("", title="Prompt")
    negative_prompt: str = Field("", title="Negative prompt")
    steps: int = Field(20, ge=1, le=150, title="Steps")
    guidance_scale: float = Field(
        7.0, ge=0, le=30, title="Guidance", validation_alias=AliasChoices("guidance_scale", "cfg", "cfg_scale")
    )
    sampler: str = Field("Euler a", title="Sampler", json_schema_extra={"enum": list(SAMPLERS)})
    seed: int = Field(-1, ge=-1, le=MAX_SEED, title="Seed", description="-1: a random one, shown in the recipe")
    loras: Loras = Field(
        default_factory=dict, title="LoRAs", description="weights by name, -2 to 2; more in the prompt: <lora:name:0.8>"
    )
    model: str = Field("", title="Model", description="an id of the catalog; empty: the app's")
    prediction_type: Prediction = Field("auto", title="Prediction", description="auto: as the model's file says")
    control: tuple[ControlUnit, ...] = Field(
        (), max_length=MOST_CONTROLS, title="Control", description="what steers the picture by a map of another"
    )

    @property
    def text(self) -> str:
        """The prompt without its LoRAs."""
        return split(self.prompt)[0]

    @property
    def lora_uses(self) -> tuple[LoraUse, ...]:
        """The LoRAs of its pictures."""
        return asked(self.prompt, self.loras)

    def image_spec(self, recipe: dict[str, Any], size: Size, seed: int, **more: Any) -> ImageSpec:
        """A picture of this request; ``more``: further fields of the spec, or others in place of these."""
        asked: dict[str, Any] = {
            "prompt": self.text,
            "negative_prompt": self.negative_prompt,
            "steps": self.steps,
            "guidance": self.guidance_scale,
            "sampler": self.sampler,
            "prediction_type": self.prediction_type,
            "loras": self.lora_uses,
        }
        return ImageSpec(recipe=recipe, size=size, seed=seed, **asked | more)

    def recipe(self, mode: str, model: ModelInfo, seed: int) -> dict[str, Any]:
        """The recipe of a picture of this request."""
        facts = {"mode": mode, "seed": seed, "model": model.id}
        vocabulary = load_vocabulary(model.folder)
        words = vocabulary.facts(self.text) if vocabulary is not None else {}
        loras = {"loras": listed(self.lora_uses)} if self.lora_uses else {}
        left_out = {"batch_count", "loras"} | (set() if self.control else {"control"})
        return self.model_dump(exclude=left_out) | {"prompt": self.text} | loras | facts | words


class TextParams(JobParams):
    """Parameters of text to image."""

    width: int = Field(512, ge=16, le=8192, title="Width")
    height: int = Field(512, ge=16, le=8192, title="Height")
    batch_count: int = Field(1, ge=1, le=16, title="Batch count")
    hires_scale: float = Field(1, ge=1, le=4, title="Upscale by", description="1: off")
    hires_upscaler: str = Field("span", title="Upscaler")
    hires_steps: int = Field(0, ge=0, le=150, title="Hires steps", description="0: as many as Steps")
    hires_denoise: float = Field(
        0.5, ge=0.05, le=1, title="Hires strength", description="how much the second pass changes"
    )

    @property
    def hires(self) -> dict[str, Any]:
        """The entries that the second pass (Hires fix) adds to the recipe."""
        return self.model_dump(include=HIRES)

    def recipe(self, mode: str, model: ModelInfo, seed: int) -> dict[str, Any]:
        """The recipe of the first pass."""
        return {k: v for k, v in super().recipe(mode, model, seed).items() if k not in HIRES}


HIRES = {"hires_scale", "hires_upscaler", "hires_steps", "hires_denoise"}


def defaults(spec: ModelSpec, generation: dict[str, Any]) -> TextParams:
    """The parameters that the tab starts with on this model: the operator's settings over the model's."""
    native = {"width": spec.width, "height": spec.height}
    return merged(TextParams, native, spec.defaults.text, generation)


def image_specs(
    params: TextParams, model: ModelInfo, max_size: int, controls: tuple[ControlPicture, ...] = ()
) -> list[ImageSpec]:
    """The pictures of one request, which ``controls`` steer; picture i has the seed plus i.

    Raises:
        ArtflowError: ``bad_size`` (naming the nearest sizes).
    """
    size = check_size(params.width, params.height, multiple=model.vae_scale, longest=max_size)
    first = random_seed() if params.seed == -1 else params.seed
    seeds = [(first + i) % (MAX_SEED + 1) for i in range(params.batch_count)]
    return [params.image_spec(params.recipe("text", model, seed), size, seed, controls=controls) for seed in seeds]
