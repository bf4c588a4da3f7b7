"""Draw Things: JSON in XMP's ``exif:UserComment``: ``c`` is the prompt, ``uc`` the negative one."""

from __future__ import annotations

from typing import Any

from artflow.metadata.a1111 import SIZE
from artflow.metadata.loras import Lora
from artflow.metadata.values import Metadata, json_object, model_name, normalized, renamed

NAMES = {
    "c": "prompt", "uc": "negative_prompt", "steps": "steps", "seed": "seed", "scale": "guidance_scale",
    "sampler": "sampler", "model": "model", "strength": "strength",
}  # fmt: skip


def read(text: str) -> Metadata | None:
    """The parameters in a text of XMP; None where Draw Things did not write it."""
    data = json_object(text)
    if data is None or not {"c", "sampler"} <= data.keys():
        return None
    values, unknown = renamed(data, NAMES)
    if values.get("strength") in (1, 1.0):  # what it says of pictures that began with noise
        del values["strength"]
    if model := model_name(values.get("model")):
        values["model"] = model
    if size := SIZE.fullmatch(str(unknown.get("size", ""))):
        values |= {"width": size[1], "height": size[2]}
        del unknown["size"]
    if loras := _loras(unknown.get("lora")):
        values["loras"] = loras
    return normalized("Draw Things", values, unknown)


def _loras(listed: Any) -> list[dict[str, Any]]:
    found = []
    for one in listed if isinstance(listed, list) else []:
        name = model_name(one.get("model")) if isinstance(one, dict) else None
        if name:
            found.append(Lora(name, one.get("weight", 1.0)).as_json())
    return found
