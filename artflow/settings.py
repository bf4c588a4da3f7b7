"""One tree of settings: ``presets/default.yaml``, then ``.env``, then the environment.

Environment names are ``ARTFLOW_`` and the path joined by two underscores: ``ARTFLOW_MODEL__MODEL_ID``. The names of
the earlier project still work (``legacy_settings.py``). An unknown key or a bad value stops the
start with one sentence (`load_settings`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, DirectoryPath, Field, ValidationError

from artflow.errors import ArtflowError, validation_sentence
from artflow.legacy_settings import put, translate

ROOT = Path(__file__).resolve().parent.parent
PRESETS = ROOT / "presets"
PREFIXES = ("STREAMDIFFUSION_", "ARTFLOW_")  # the later one wins

SLOWEST = 0.01  # frames a second


def _cap(fps: float) -> float:
    if 0 < fps < SLOWEST:
        raise ValueError(f"0 is no cap; else it is at least {SLOWEST}")
    return fps


MaxFps = Annotated[float, Field(ge=0, le=240), AfterValidator(_cap)]


FromRoot = Annotated[Path, AfterValidator(lambda path: ROOT / path)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, protected_namespaces=())


class ModelSettings(_Group):
    """Which model is loaded, and on what."""

    model_id: str = Field("auto", description="`auto`, an id of models.yaml, a folder, a .safetensors file, a Hub id")
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    engine: Literal["auto", "thread", "process"] = Field(
        "auto", description="where pictures are made: in this process, or in one of its own; `auto`: one on a GPU"
    )
    use_tiny_vae: bool = True
    prediction_type: Literal["auto", "epsilon", "v_prediction", "sample"] = Field(
        "auto", description="what the model of model_id predicts, where its file does not say so; `auto`: as it says"
    )
    use_lcm_lora: bool = Field(
        False, description="draw in four steps with a model of model_id that is SD 1.5 or SDXL and not in models.yaml"
    )
    acceleration: Literal["none", "xformers", "tensorrt", "compile", "openvino"] = "none"
    use_cuda_graph: bool | Literal["auto"] = "auto"
    engine_dir: Path = Path("engines")
    warmup: int = Field(1, ge=0, le=100, description="pictures made before the first person is served")
    max_batch: int = Field(16, ge=1, le=64, description="rows in one UNet call at most")
    max_loaded: int = Field(3, ge=1, le=8, description="models kept in memory at once")


class ModelsSettings(_Group):
    """What models can be given beside their own weights, and who may change it."""

    lora_dir: FromRoot = Field(Path("models/loras"), description="folder of LoRAs, from the app's own folder on")
    lora_memory_mb: int = Field(1024, ge=16, le=1_000_000, description="of LoRAs kept on the device, for each model")
    manage_loras: bool | Literal["auto"] = Field(
        "auto",
        description="who may download, upload and delete LoRAs: everybody, nobody; `auto`: who has signed in, and "
        "without accounts who is on this machine or its private network, but nobody on a public Space",
    )
    max_lora_bytes: int = Field(4_000_000_000, ge=1_000, description="bytes of a LoRA that is downloaded")


class Performance(_Group):
    """How the frames of a live mode flow."""

    enable_similar_image_filter: bool
    similar_image_filter_threshold: float = Field(0.98, ge=0, le=1)
    similar_image_filter_max_skip_frame: int = Field(10, ge=0, le=10_000)
    max_fps: MaxFps = Field(0, description="0 = no cap")
    jpeg_quality: int = Field(85, ge=1, le=100)


class LiveSettings(_Group):
    """A live mode: its performance, and its own defaults over those of the model."""

    performance: Performance
    generation: dict[str, Any] = Field(default_factory=dict, description="defaults of the mode's input_params")


class CanvasSettings(LiveSettings):
    """The canvas mode; see `LiveSettings`."""

    coalesce: bool = Field(False, description="the newest stroke replaces the ones that wait")


class TextSettings(_Group):
    """The text mode."""

    generation: dict[str, Any] = Field(default_factory=dict, description="defaults of the mode's input_params")


class InterrogateSettings(_Group):
    """From pictures to prompts."""

    model_id: str = Field("auto", min_length=1, description="`auto`, `embedded`, a Hub id or folder of a CLIP model")
    lists: DirectoryPath = Field(PRESETS / "interrogate", description="folder of term lists; see its README.md")
    cache: Path | None = Field(None, description="folder for text features; null: beside the Hub's cache")


class SafetySettings(_Group):
    """What is looked at before people see it."""

    check: bool = Field(False, description="hide made pictures that a classifier takes for not safe for work")
    model_id: str = Field(
        "CompVis/stable-diffusion-safety-checker", min_length=1, description="a Hub id or folder of such a checker"
    )


class ServerSettings(_Group):
    """Limits of what people may ask of this process."""

    timeout: float = Field(0, ge=0, description="seconds a live session may last; 0 = never ends")
    max_queue_size: int = Field(64, ge=0, le=10_000, description="live sessions at once; 0 = no limit")
    max_in_flight: int = Field(4, ge=1, le=16, description="frames a client may have under way")
    max_waiting: int = Field(64, ge=1, le=10_000, description="strokes that may wait in one canvas session")
    max_frame_bytes: int = Field(8_000_000, ge=1_000)
    max_frame_pixels: int = Field(3840 * 2160, ge=4_096, description="pixels of a webcam or canvas frame")
    max_inpaint_pixels: int = Field(4096 * 4096, ge=4_096, description="pixels of a picture in live inpaint")
    max_file_bytes: int = Field(100_000_000, ge=1_000, description="bytes of an uploaded file")
    max_pixels: int = Field(
        68_000_000, ge=4_096, le=178_956_970, description="pixels of an uploaded picture, or one that outpaint makes"
    )
    max_prompt: int = Field(1_000, ge=1, description="characters of a prompt")
    max_size: int = Field(1_024, ge=64, le=8_192, description="longest side of a made picture")
    max_hires: int = Field(2_048, ge=64, le=8_192, description="longest side of one drawn in two passes (Hires fix)")
    origins: tuple[str, ...] = Field(
        (),
        description="https://host of pages that may use an app on localhost, and of names that it answers to there",
    )
    max_jobs: int = Field(16, ge=1, description="jobs that wait or run at once")
    jobs_per_person: int = Field(4, ge=0, description="of them by one person or page; 0 = no limit")
    jobs_per_address: int = Field(8, ge=0, description="of them from one network address; 0 = no limit")
    sessions_per_address: int = Field(16, ge=0, description="live sessions from one address; 0 = no limit")


class LogSettings(_Group):
    """Rotating JSON-lines logs."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    folder: Path | None = Field(Path("logs"), description="null: console only")
    prompts: bool = Field(False, description="write prompt text at INFO")


class Settings(_Group):
    """Everything that an operator may set."""

    model: ModelSettings = ModelSettings()
    models: ModelsSettings = ModelsSettings()
    realtime: LiveSettings
    canvas: CanvasSettings
    inpaint: LiveSettings = LiveSettings(performance=Performance(enable_similar_image_filter=False, jpeg_quality=95))
    text: TextSettings = TextSettings()
    interrogate: InterrogateSettings = InterrogateSettings()
    safety: SafetySettings = SafetySettings()
    server: ServerSettings = ServerSettings()
    logging: LogSettings = LogSettings()


def load_settings(
    yaml_file: Path = PRESETS / "default.yaml",
    env_file: Path = Path(".env"),
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the three sources, later ones over earlier ones.

    Raises:
        ArtflowError: ``bad_settings``, naming every bad key, its value and what is allowed.
    """
    tree = _read_yaml(yaml_file)
    translate(tree)
    for source in (dotenv_values(env_file) if env_file.is_file() else {}, environ):
        for prefix in PREFIXES:
            for name, value in source.items():
                if name.startswith(prefix) and value is not None:
                    put(tree, name.removeprefix(prefix).lower().split("__"), _parsed(value))
            translate(tree)  # each time: an older name must not win over what comes later
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ArtflowError("bad_settings", "; ".join(_sentence(e) for e in error.errors())) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArtflowError("bad_settings", f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict | None):
        raise ArtflowError("bad_settings", f"{path} holds {tree!r}; it must be groups of settings")
    return tree or {}


def _parsed(value: str) -> Any:
    """Lists, mappings and null come as JSON; everything else is left to the field's type."""
    if value[:1] in "[{" or value == "null":
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _sentence(error: Any) -> str:
    group: Any = Settings
    for part in error["loc"][:-1]:
        group = getattr(group.model_fields.get(part), "annotation", None) if hasattr(group, "model_fields") else None
    if error["type"] == "tuple_type":
        error = error | {"msg": 'a list is written in JSON, ["one", "two"]'}
    return validation_sentence(error, getattr(group, "model_fields", ()), "setting")
