"""Read back: the parameters that a picture was made with, out of its metadata.

Three writers are understood: ArtFlow's own JSON (the PNG text ``artflow``), the A1111 web UI (the PNG text
``parameters``; in JPEG and WebP the EXIF field UserComment), and ComfyUI (the PNG texts ``prompt`` and ``workflow``; in
WebP EXIF fields that hold ``prompt:{...}``). What they say is handed on in ArtFlow's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image
from pydantic import BaseModel, ValidationError

from artflow.errors import ArtflowError
from artflow.images import opened
from artflow.modes import comfy

MAX_TEXT = 2_000_000  # characters of one text; workflows are long, anything longer is none
MAX_FACTS = 20_000  # characters of A1111's last line
MAX_DEPTH = 64  # lists and objects in each other: no writer's, and not all that reads JSON takes it
MOST_DECODED = 20_000_000  # pixels of a PNG that are decoded to reach the texts after them
EXIF_MAKE = 0x010F
EXIF_MODEL = 0x0110
EXIF_DESCRIPTION = 0x010E

A1111_NAMES = {
    "steps": "steps", "cfg scale": "guidance_scale", "seed": "seed", "model": "model", "sampler": "sampler",
    "denoising strength": "strength", "hires upscale": "hires_scale", "hires upscaler": "hires_upscaler",
    "hires steps": "hires_steps",
}  # fmt: skip
WHOLE = {"steps", "seed", "width", "height", "hires_steps"}
FRACTIONS = {"guidance_scale", "strength", "hires_scale", "hires_denoise"}
# Their samplers are many; these are the ones whose method is one of ours, whatever the schedule of noise.
SAMPLERS = {
    "euler": "Euler", "euler a": "Euler a", "euler ancestral": "Euler a", "ddim": "DDIM", "lcm": "LCM",
    "unipc": "UniPC", "uni pc": "UniPC", "uni pc bh2": "UniPC", "dpm++ 2m": "DPM++ 2M Karras",
    "dpm++ 2m karras": "DPM++ 2M Karras", "dpmpp 2m": "DPM++ 2M Karras",
}  # fmt: skip


@dataclass(frozen=True)
class ReadBack:
    """What a picture says about itself."""

    source: str  # "ArtFlow", "A1111" or "ComfyUI"
    mode: str  # an ArtFlow mode: "text" where the writer does not tell
    values: Mapping[str, Any]  # by ArtFlow's parameter names; only what is there
    unknown: Mapping[str, Any] = field(default_factory=dict)  # what the writer says and ArtFlow has no name for


def read_back(data: bytes) -> ReadBack:
    """The parameters in a PNG, JPEG or WebP file; of a huge PNG only what stands before its pixels.

    Raises:
        ArtflowError: ``bad_picture`` if it is no such file, ``no_parameters`` if it holds none that are understood.
    """
    texts = _texts(data)
    found = _ours(texts) or _comfy(texts) or _a1111(texts)
    if found is None:
        raise ArtflowError(
            "no_parameters",
            "This picture holds no settings that ArtFlow understands (its own, A1111 or ComfyUI); "
            "screenshots and pictures sent through chats lose them.",
        )
    return found


def carried_recipe(data: bytes) -> dict[str, Any]:
    """What a picture says about itself, as the recipe to hand on with what is made of it; empty where it is silent."""
    try:
        found = read_back(data)
    except ArtflowError:
        return {}
    return {**found.values, "mode": found.mode}


def fitting(values: Mapping[str, Any], kind: type[BaseModel]) -> tuple[dict[str, Any], list[str]]:
    """Those values that parameters of this kind can take, and the names of those that it has but cannot take."""
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


def _texts(data: bytes) -> dict[str, str]:
    """Every text in the file by its name in a PNG; texts in EXIF get the name of what they look like."""
    try:
        with opened(data) as image:
            texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
            exif: list[str] = []
            # Of a PNG, Pillow gives what stands after the pixels once it has decoded them, and so its EXIF.
            if image.format != "PNG" or image.width * image.height <= MOST_DECODED:
                texts |= getattr(image, "text", {})
                exif = [text for value in _exif(image) if (text := _exif_text(value))]
    except ArtflowError:
        raise
    except Exception as error:  # noqa: BLE001 - broken files make Pillow raise nearly anything
        raise ArtflowError("bad_picture", f"The picture cannot be read: {error}.") from None
    for text in exif:
        name, _, rest = text.partition(":")
        if name.lower() in ("prompt", "workflow", "artflow") and rest.lstrip().startswith("{"):
            texts.setdefault(name.lower(), rest)
        else:
            texts.setdefault("parameters", text)
    return {key: str(value) for key, value in texts.items() if len(value) <= MAX_TEXT}


def _exif(image: Image.Image) -> Iterator[Any]:
    exif = image.getexif()
    yield exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    for tag in (EXIF_MODEL, EXIF_MAKE, EXIF_DESCRIPTION):
        yield exif.get(tag)


def _exif_text(value: Any) -> str:
    """A text out of EXIF. UserComment begins with the name of its encoding; UNICODE means UTF-16 of either order."""
    if isinstance(value, str):
        return value if value.lower().startswith(("prompt:", "workflow:", "artflow:")) or "Steps: " in value else ""
    if not isinstance(value, bytes) or len(value) < 9:
        return ""
    code, body = value[:8], value[8:]
    if not code.startswith(b"UNICODE"):
        return body.decode("utf-8", "replace").rstrip("\0")
    order = "utf-16-be" if body[0::2].count(0) > body[1::2].count(0) else "utf-16-le"
    return body.decode(order, "replace").rstrip("\0").removeprefix("\ufeff")


def _ours(texts: Mapping[str, str]) -> ReadBack | None:
    recipe = _object(texts.get("artflow", ""))
    if recipe is None:
        return None
    values = {key: value for key, value in recipe.items() if key != "mode"}
    mode = recipe.get("mode")
    return ReadBack("ArtFlow", mode if isinstance(mode, str) and mode else "text", values)


def _comfy(texts: Mapping[str, str]) -> ReadBack | None:
    prompt, workflow = _object(texts.get("prompt", "")), _object(texts.get("workflow", ""))
    try:
        values = (comfy.from_prompt(prompt) if prompt else {}) or (comfy.from_workflow(workflow) if workflow else {})
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):  # JSON, but of no graph
        return None
    return _named("ComfyUI", values, {}) if values else None


def _a1111(texts: Mapping[str, str]) -> ReadBack | None:
    text = texts.get("parameters", "").strip()
    head, facts = _split_facts(text)
    if facts is None:
        return None
    prompt, _, negative = head.partition("Negative prompt:")
    values: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    unknown: dict[str, Any] = {}
    for key, value in facts.items():
        name = A1111_NAMES.get(key.lower())
        if name:
            values[name] = value
        elif size := re.fullmatch(r"(\d+)\s*x\s*(\d+)", value) if key.lower() == "size" else None:
            values |= {"width": size[1], "height": size[2]}
        else:
            unknown[key] = value
    if "hires_scale" in values and "strength" in values:
        values["hires_denoise"] = values.pop("strength")  # one name for both there
    return _named("A1111", values, unknown)


def _split_facts(text: str) -> tuple[str, dict[str, str] | None]:
    """The text before its last line, and that line's ``Name: value`` pairs; values may be quoted and hold commas."""
    head, _, last = text.rpartition("\n")
    if not re.match(r"\s*Steps:\s*\d+", last) or len(last) > MAX_FACTS:
        return text, None
    # No name is longer, so that text of anybody's cannot make the search go over itself again and again.
    pairs = re.findall(r'([\w ./()+-]{1,80}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', last)
    return head, {key.strip(): value.strip().strip('"') for key, value in pairs}


def _named(source: str, values: Mapping[str, Any], unknown: Mapping[str, Any]) -> ReadBack:
    """Values as ArtFlow's: numbers as numbers, samplers by our names; what cannot be is among the unknown."""
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
    return ReadBack(source, "text", good, bad)


def _number(value: Any, *, whole: bool) -> int | float | None:
    try:
        number = int(str(value)) if whole else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 2**64 else None  # also refuses nan


def _object(text: str) -> dict[str, Any] | None:
    """A JSON object, or None. ComfyUI writes NaN, which Python's reader takes."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _deeper(value, MAX_DEPTH) else None


def _deeper(value: Any, most: int) -> bool:
    """Whether lists and objects lie in each other more than so deep."""
    level: list[Any] = [value]
    for _ in range(most):
        inside = (v for one in level for v in (one.values() if isinstance(one, dict) else one))
        level = [v for v in inside if isinstance(v, dict | list)]
        if not level:
            return False
    return True
