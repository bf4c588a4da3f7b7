"""The catalogue of models (``presets/models.yaml``), and the models that an operator names outside of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from artflow.errors import ArtflowError
from artflow.models.preset_file import read_preset
from artflow.models.weights import is_unsafe, unsafe

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the ``artflow`` package; relative paths of the catalogue start here."""

LEARNED_STYLES = ROOT / "models" / "styles"
"""Where styles lie that people have learned."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Source(BaseModel):
    """Where the weights come from: exactly one of a local diffusers folder, a Hub id and a ``.safetensors`` file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path | None = None
    hub: str | None = Field(default=None, pattern=rf"^{HUB_ID.pattern}$")
    file: Path | None = None
    config: Path | None = None
    """With ``file``: a diffusers folder whose configs and tokenizers describe it, for unusual architectures."""

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(s is not None for s in (self.folder, self.hub, self.file)) != 1:
            raise ValueError("source needs exactly one of folder, hub, file")
        if self.config is not None and self.file is None:
            raise ValueError("source.config only goes with source.file")
        if self.file is not None and self.file.suffix != ".safetensors":
            raise ValueError(f"source.file has to be a .safetensors file, not {self.file.name}")
        return self


class Defaults(BaseModel):
    """What the tabs start with on this model: parameter names and values, checked where they are used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    realtime: dict[str, Any] = {}
    canvas: dict[str, Any] = {}
    inpaint: dict[str, Any] = {}
    """The live one."""
    text: dict[str, Any] = {}


class ModelSpec(BaseModel):
    """One entry of the catalogue. Nothing of it is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    name: str = ""
    description: str = ""
    source: Source
    revision: str | None = None
    """Branch, tag or commit on the Hub; the main branch if not given."""
    variant: str | None = None
    """Weight files to prefer, such as ``fp16``. Plain files are taken where there are none."""
    tiny_vae: str | None = None
    """Hub id or folder of the small autoencoder to use in place of the model's own."""
    family: Literal["sd", "sdxl", "painter", "auto"] = "auto"
    live_schedule: Literal["lcm", "turbo", "once", "auto"] = "auto"
    prediction_type: Literal["epsilon", "v_prediction", "sample", "auto"] = "auto"
    """What the UNet predicts, for models whose config says it wrongly or not at all."""
    width: int = Field(default=512, ge=64, le=4096, multiple_of=8)
    height: int = Field(default=512, ge=64, le=4096, multiple_of=8)
    lcm_lora: str | None = None
    """The LCM-LoRA (2311.05556) that is fused into its weights as it is loaded, so that it draws in four steps: a file,
    one of the Hub (``owner/name/file.safetensors``), or ``auto``: the one for its family."""
    styles_by: str | None = None
    """The model of the catalog that paints the styles which live prompts name, alone or over what this one draws."""
    native_resolution_only: bool = False
    """Whether the model only works at this size; other sizes are outpainted and enlarged from it."""
    defaults: Defaults = Defaults()
    examples: list[str] = []
    gpu_default: bool = False

    def with_lcm(self) -> ModelSpec:
        """The same model with the LCM-LoRA of its family, its schedule and its steps."""
        live = {"steps": 4, "guidance_scale": 1.0, "cfg_type": "none"}
        text = {"steps": 4, "guidance_scale": 1.0, "sampler": "LCM"}
        defaults = Defaults(realtime=live, canvas=live, inpaint=live, text=text)
        return self.model_copy(update={"lcm_lora": "auto", "live_schedule": "lcm", "defaults": defaults})

    @property
    def draws(self) -> bool:
        """Whether it makes pictures out of nothing; else it needs one to work on, and so is for the live tabs."""
        return self.family != "painter"

    @property
    def title(self) -> str:
        """The name for display; the id where there is none."""
        return self.name or self.id


class Catalog(BaseModel):
    """The models that can be chosen, in the order in which they are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: list[ModelSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> Catalog:
        ids = self.ids
        if doubled := {i for i in ids if ids.count(i) > 1}:
            raise ValueError(f"more than one model is called {', '.join(sorted(doubled))}")
        if missing := {m.styles_by for m in self.models if m.styles_by is not None} - set(ids):
            raise ValueError(f"styles_by names {', '.join(sorted(missing))}, which is not in the catalog")
        return self

    @property
    def ids(self) -> list[str]:
        return [m.id for m in self.models]

    def default(self, has_gpu: bool) -> ModelSpec:
        """The model to start with: on a GPU the one marked for it, else the first, which needs no download."""
        if has_gpu:
            return next((m for m in self.models if m.gpu_default), self.models[0])
        return self.models[0]

    def get(self, model_id: str) -> ModelSpec:
        """The model of this id. Only ids of the catalogue are found, so the name may come from a user.

        Raises ``ArtflowError("unknown_model")``.
        """
        for spec in self.models:
            if spec.id == model_id:
                return spec
        raise ArtflowError("unknown_model", f"There is no model {_short(model_id)}; there are {', '.join(self.ids)}.")

    def find(self, text: str) -> ModelSpec:
        """The model that the *operator's* settings name. Never call this with text from a user: see `get`.

        ``text`` is an id of the catalogue, a local diffusers folder, a local ``.safetensors`` file or a Hub id
        (``owner/name``). Raises ``ArtflowError``: ``unknown_model``, or ``unsafe_weights`` for a pickled file.
        """
        text = text.strip()
        if text in self.ids:
            return self.get(text)
        path = _existing(text)
        if path is None:
            if HUB_ID.fullmatch(text) and not text.endswith(".safetensors"):
                return _ad_hoc(text, hub=text)
        elif (path / "model_index.json").is_file():
            return _ad_hoc(text, folder=path)
        elif path.is_file() and path.suffix == ".safetensors":
            return _ad_hoc(text, file=path)
        elif path.is_file() and is_unsafe(path.name):
            raise unsafe(text)
        raise ArtflowError(
            "unknown_model",
            f"There is no model {_short(text)}; allowed are {', '.join(self.ids)}, an existing diffusers folder (with "
            "model_index.json), an existing .safetensors file, or a Hub id such as owner/name.",
        )


def load_catalog(path: str | Path = ROOT / "presets" / "models.yaml") -> Catalog:
    """Read a catalogue: a YAML file with a list of models under ``models``.

    Raises ``ArtflowError("bad_catalog")`` with the place and the reason.
    """
    catalog = read_preset(Path(path), Catalog, "bad_catalog")
    return Catalog(models=[_resolved(m) for m in catalog.models])


def _resolved(spec: ModelSpec) -> ModelSpec:
    """The same model with its relative paths looked up in `ROOT`."""
    paths = {k: ROOT / v for k in ("folder", "file", "config") if (v := getattr(spec.source, k)) is not None}
    tiny = spec.tiny_vae
    if tiny is not None and (ROOT / tiny).is_dir():
        tiny = str(ROOT / tiny)
    return spec.model_copy(update={"source": spec.source.model_copy(update=paths), "tiny_vae": tiny})


def _existing(text: str) -> Path | None:
    """The file or folder of this name, if there is one."""
    try:
        path = Path(text).expanduser().resolve()
        return path if text and path.exists() else None
    except (
        OSError,
        RuntimeError,
        ValueError,
    ):  # too long, an unknown ~user, a zero byte: not a file name
        return None


def _ad_hoc(text: str, **source: Any) -> ModelSpec:
    return ModelSpec(id=text, name=Path(text).name, source=Source(**source))


def _short(text: str) -> str:
    return repr(text if len(text) <= 100 else text[:97] + "...")
