"""The LoRAs that are offered for download (``presets/loras.yaml``)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from huggingface_hub import constants
from pydantic import BaseModel, ConfigDict, Field, model_validator

from artflow.errors import ArtflowError
from artflow.models.catalog import ROOT
from artflow.models.preset_file import read_preset

HUB = "https://huggingface.co/"
ID = r"^[a-z0-9][a-z0-9._-]{0,63}$"
FILENAME = r"^[A-Za-z0-9][\w.()+ -]{0,99}\.safetensors$"
SHA256 = r"^([0-9a-f]{64})?$"

Group = Literal["acceleration", "style"]
Base = Literal["sd15", "sd2", "sdxl"]
"""The models that a LoRA is made for: its matrices only fit into networks of these widths."""


class Mirror(BaseModel):
    """One place that has the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    url: str = Field(pattern=r"^https://[^/\s]+/\S+$")

    @property
    def address(self) -> str:
        """The URL to ask, on the operator's ``HF_ENDPOINT`` where it is the Hub's."""
        return self.url.replace(HUB, f"{constants.ENDPOINT.rstrip('/')}/", 1)


class LoraPreset(BaseModel):
    """One entry. Nothing of it is downloaded before somebody asks."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    id: str = Field(pattern=ID)
    name: str = Field(min_length=1)
    description: str = ""
    mirrors: list[Mirror] = Field(min_length=1)
    """Tried in this order."""
    filename: str = Field(pattern=FILENAME)
    """What the file is called in the folder, whatever its mirrors call it."""
    size: int = Field(default=0, ge=0)
    """Bytes; 0 where they are not known for certain."""
    sha256: str = Field(default="", pattern=SHA256)
    """In hexadecimal; empty where it is not known for certain."""
    model_type: Group
    compatible_models: list[Base] = Field(min_length=1)
    tags: list[str] = []
    trigger: str = ""
    """Words that a prompt needs for it."""


class Presets(BaseModel):
    """All of them, in the order in which they are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loras: list[LoraPreset]

    @model_validator(mode="after")
    def _unique(self) -> Presets:
        for what in ([p.id for p in self.loras], [p.filename for p in self.loras]):
            if doubled := {one for one in what if what.count(one) > 1}:
                raise ValueError(f"more than one LoRA is called {', '.join(sorted(doubled))}")
        return self

    def get(self, preset_id: str) -> LoraPreset:
        """The preset of this id, which may come from a user.

        Raises:
            ArtflowError: ``unknown_lora``.
        """
        for preset in self.loras:
            if preset.id == preset_id:
                return preset
        known = ", ".join(preset.id for preset in self.loras)
        raise ArtflowError("unknown_lora", f"There is no LoRA {preset_id[:80]!r} to download; there are {known}.")


def load_presets(path: Path = ROOT / "presets" / "loras.yaml") -> Presets:
    """Read the list: a YAML file with ``loras``.

    Raises:
        ArtflowError: ``bad_loras``, with the place and the reason.
    """
    return read_preset(path, Presets, "bad_loras")
