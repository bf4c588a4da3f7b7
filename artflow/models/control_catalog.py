"""What can steer a picture (``presets/controls.yaml``): kinds of control, and the networks of each family for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from artflow.errors import ArtflowError
from artflow.models.catalog import ROOT, Source
from artflow.models.preset_file import read_preset

MapName = Literal["none", "canny", "scribble", "lineart", "softedge", "tile", "color", "openpose", "depth", "normal"]
"""How a map is made of a picture (`artflow.modes.control_maps`); none: the picture is the map."""

PRESET = ROOT / "presets" / "controls.yaml"


class ControlFamily(BaseModel):
    """Models that can use the same networks, known by the width of the text that their UNet attends to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    text_width: int = Field(gt=0)


class ControlKind(BaseModel):
    """One kind of control: how its map is made of a picture, unless it is one, and its network for each family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = Field(pattern=r"^[a-z0-9_-]{1,40}$")
    name: str
    preprocess: MapName
    networks: dict[str, Source]

    def source(self, family: str | None) -> Source | None:
        """Where the network of a family is; None where there is none, or its file or folder is not there."""
        source = self.networks.get(family or "")
        if source is None:
            return None
        path = source.folder or source.file
        return source if path is None or path.exists() else None


class ControlCatalog(BaseModel):
    """All of them, in the order in which they are shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    families: dict[str, ControlFamily]
    kinds: list[ControlKind]

    @model_validator(mode="after")
    def _consistent(self) -> ControlCatalog:
        names = [kind.kind for kind in self.kinds]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"more than one kind is called {', '.join(sorted(doubled))}")
        if unknown := {family for kind in self.kinds for family in kind.networks} - set(self.families):
            raise ValueError(f"networks are of {', '.join(sorted(unknown))}, which is not among families")
        return self

    def get(self, kind: str) -> ControlKind:
        """The kind of this name, which may come from a user.

        Raises:
            ArtflowError: ``unknown_control``, naming those there are.
        """
        for one in self.kinds:
            if one.kind == kind:
                return one
        there = ", ".join(one.kind for one in self.kinds)
        raise ArtflowError("unknown_control", f"There is no control {kind[:60]!r}; there are {there}.")

    def family_of(self, text_width: int) -> str | None:
        """The family of a model whose UNet attends to texts of this width."""
        return next((name for name, family in self.families.items() if family.text_width == text_width), None)

    def family_name(self, text_width: int) -> str:
        """The same for people."""
        family = self.family_of(text_width)
        return f"models with texts of width {text_width}" if family is None else self.families[family].name

    def kinds_of(self, family: str | None) -> tuple[str, ...]:
        """The kinds that models of a family can be steered by."""
        return tuple(kind.kind for kind in self.kinds if kind.source(family) is not None)


def network_id(source: Source) -> str:
    """What a model that holds the network calls it."""
    return source.hub or str(source.folder or source.file)


def check_kinds(kinds: Iterable[str], allowed: Sequence[str], model: str) -> None:
    """Refuse kinds of control that a model has no network for.

    Raises:
        ArtflowError: ``unknown_control``, naming those there are.
    """
    for kind in kinds:
        if kind not in allowed:
            there = f"for it there are {', '.join(allowed)}" if allowed else "there is none for it"
            raise ArtflowError("unknown_control", f"{model} has no control {kind[:60]!r}; {there}.")


def load_controls() -> ControlCatalog:
    """The catalogue; read once.

    Raises:
        ArtflowError: ``bad_catalog``, with the place and the reason.
    """
    return _read(PRESET)


@cache
def _read(path: Path) -> ControlCatalog:
    catalog = read_preset(path, ControlCatalog, "bad_catalog")
    return catalog.model_copy(update={"kinds": [_resolved(kind) for kind in catalog.kinds]})


def _resolved(kind: ControlKind) -> ControlKind:
    """The same kind with its relative paths looked up in `ROOT`."""

    def found(source: Source) -> Source:
        paths = {key: ROOT / path for key in ("folder", "file") if (path := getattr(source, key)) is not None}
        return source.model_copy(update=paths)

    return kind.model_copy(update={"networks": {family: found(source) for family, source in kind.networks.items()}})
