"""What every dialect is brought to: ArtFlow's parameter names, numbers as numbers, ArtFlow's names of samplers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from artflow.metadata.loras import without_tags

DECODER = json.JSONDecoder(strict=False)
MAX_DEPTH = 64  # nested lists and objects; deeper JSON is refused, since not every reader takes it
TEXTS = {"prompt", "negative_prompt", "model", "hires_upscaler"}
WHOLE = {"steps", "seed", "width", "height", "hires_steps"}
EXACT = 2**53  # a browser rounds whole numbers beyond it
FRACTIONS = {"guidance_scale", "strength", "hires_scale", "hires_denoise"}
WEIGHT_FILES = {"safetensors", "ckpt", "pt", "pth", "bin", "gguf", "sft", "onnx"}
# The samplers of other programs that are one of ours, whatever their noise schedule.
SAMPLERS = {
    "euler": "Euler", "euler a": "Euler a", "euler ancestral": "Euler a", "ddim": "DDIM", "lcm": "LCM",
    "unipc": "UniPC", "uni pc": "UniPC", "uni pc bh2": "UniPC", "dpm++ 2m": "DPM++ 2M Karras",
    "dpm++ 2m karras": "DPM++ 2M Karras", "dpmpp 2m": "DPM++ 2M Karras", "dpmpp 2m k": "DPM++ 2M Karras",
    "euler k": "Euler",
}  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """The generation parameters of a picture, in ArtFlow's names."""

    source: str  # the program: "ArtFlow", "A1111", "ComfyUI" ...
    mode: str  # an ArtFlow mode: "text" where the writer does not tell
    values: Mapping[str, Any]  # by ArtFlow's parameter names; only what is there
    unknown: Mapping[str, Any] = field(default_factory=dict)  # what the writer says and ArtFlow has no name for
    missing: tuple[str, ...] = ()  # parameters that it was made with and that could not be found out


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


def normalized(
    source: str, values: Mapping[str, Any], unknown: Mapping[str, Any], missing: tuple[str, ...] = ()
) -> Metadata:
    """Metadata with numbers as numbers and samplers by our names; values that cannot be converted are ``unknown``."""
    good: dict[str, Any] = {}
    bad = dict(unknown)
    for name, value in values.items():
        if name in WHOLE | FRACTIONS:
            number = _number(value, whole=name in WHOLE)
            (good if number is not None else bad)[name] = value if number is None else number
        elif name in TEXTS and not isinstance(value, str):
            bad[name] = value
        elif name == "sampler":
            ours = SAMPLERS.get(_plain_name(str(value)))
            (good if ours else bad)[name] = ours or value
        else:
            good[name] = value
    for name in ("prompt", "negative_prompt"):
        if name in good:
            good[name], tagged = without_tags(good[name])
            if tagged and name == "prompt":
                good["loras"] = [lora.as_json() for lora in tagged] + good.get("loras", [])
    return Metadata(source, "text", good, bad, missing)


def renamed(data: Mapping[str, Any], names: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values under ``names`` by our names (the first of two that have one name), and all others."""
    values: dict[str, Any] = {}
    for theirs, ours in names.items():
        if data.get(theirs) is not None:
            values.setdefault(ours, data[theirs])
    return values, {key: value for key, value in data.items() if key not in names}


def model_name(path: Any) -> str | None:
    """A model file's name without folder and ending, which is how A1111 names a model; None for what is no name."""
    if not isinstance(path, str):
        return None
    name = path.replace("\\", "/").rsplit("/", 1)[-1].strip()
    stem, dot, ending = name.rpartition(".")
    return (stem if dot and ending.lower() in WEIGHT_FILES else name) or None


def _plain_name(sampler: str) -> str:
    """A sampler's name as `SAMPLERS` has it: without the prefixes of the functions that it is named after."""
    return sampler.strip().lower().removeprefix("sample_").removeprefix("k_").replace("_", " ")


def shown(value: Any) -> Any:
    """A JSON value that a browser shows exactly: whole numbers beyond 2^53 as text, no halves of surrogate pairs."""
    if isinstance(value, dict):
        return {shown(str(key)): shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shown(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, int) and abs(value) > EXACT else value


def _number(value: Any, *, whole: bool) -> int | float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value) if not whole else int(value if isinstance(value, float) else str(value).strip())
    except (TypeError, ValueError, OverflowError):
        return None
    if whole and number != (value if isinstance(value, float) else number):
        return None  # half a step
    return number if abs(number) < 2**64 else None  # also refuses nan


def json_object(text: str) -> dict[str, Any] | None:
    """The JSON object in a text, or None. ComfyUI writes NaN, which Python's reader accepts."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _deeper(value, MAX_DEPTH) else None


def exact_json(text: str, at: int) -> tuple[Any, int]:
    """The JSON list or object that begins at a place in a text, and where it ends; None where there is none."""
    try:
        value, end = DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return (None, at) if _deeper(value, MAX_DEPTH) else (value, end)


def _deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested deeper than ``most`` levels."""
    level: list[Any] = [value]
    for _ in range(most):
        inside = (v for one in level for v in (one.values() if isinstance(one, dict) else one))
        level = [v for v in inside if isinstance(v, dict | list)]
        if not level:
            return False
    return True
