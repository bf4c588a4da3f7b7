"""What every dialect is brought to: ArtFlow's parameter names, numbers as numbers, ArtFlow's names of samplers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

MAX_DEPTH = 64  # nested lists and objects; deeper JSON is refused, since not every reader takes it
WHOLE = {"steps", "seed", "width", "height", "hires_steps"}
FRACTIONS = {"guidance_scale", "strength", "hires_scale", "hires_denoise"}
# The samplers of other programs that are one of ours, whatever their noise schedule.
SAMPLERS = {
    "euler": "Euler", "euler a": "Euler a", "euler ancestral": "Euler a", "ddim": "DDIM", "lcm": "LCM",
    "unipc": "UniPC", "uni pc": "UniPC", "uni pc bh2": "UniPC", "dpm++ 2m": "DPM++ 2M Karras",
    "dpm++ 2m karras": "DPM++ 2M Karras", "dpmpp 2m": "DPM++ 2M Karras",
}  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """The generation parameters of a picture, in ArtFlow's names."""

    source: str  # "ArtFlow", "A1111" or "ComfyUI"
    mode: str  # an ArtFlow mode: "text" where the writer does not tell
    values: Mapping[str, Any]  # by ArtFlow's parameter names; only what is there
    unknown: Mapping[str, Any] = field(default_factory=dict)  # what the writer says and ArtFlow has no name for


def fitting(values: Mapping[str, Any], kind: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
    """The values that are valid for this parameter class, and the names of those that are not."""
    good, refused = {}, []
    for name in values.keys() & kind.model_fields.keys():
        extra = kind.model_fields[name].json_schema_extra
        allowed = extra.get("enum") if isinstance(extra, dict) else None
        try:
            value = getattr(kind.model_validate({name: values[name]}), name)
        except ValidationError:
            value = None
        if value is None or (isinstance(allowed, list) and value not in allowed):
            refused.append(name)
        else:
            good[name] = value
    return good, sorted(refused)


def normalized(source: str, values: Mapping[str, Any], unknown: Mapping[str, Any]) -> Metadata:
    """Metadata with numbers as numbers and samplers by our names; values that cannot be converted are ``unknown``."""
    good: dict[str, Any] = {}
    bad = dict(unknown)
    for name, value in values.items():
        if name in WHOLE | FRACTIONS:
            number = _number(value, whole=name in WHOLE)
            (good if number is not None else bad)[name] = value if number is None else number
        elif name == "sampler":
            ours = SAMPLERS.get(str(value).lower().replace("_", " "))
            (good if ours else bad)[name] = ours or value
        else:
            good[name] = value
    return Metadata(source, "text", good, bad)


def _number(value: Any, *, whole: bool) -> int | float | None:
    try:
        number = int(str(value)) if whole else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 2**64 else None  # also refuses nan


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a text, or None. ComfyUI writes NaN, which Python's reader accepts."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _deeper(value, MAX_DEPTH) else None


def _deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested deeper than ``most`` levels."""
    level: list[Any] = [value]
    for _ in range(most):
        inside = (v for one in level for v in (one.values() if isinstance(one, dict) else one))
        level = [v for v in inside if isinstance(v, dict | list)]
        if not level:
            return False
    return True
