"""InvokeAI: JSON under ``invokeai_metadata``; older versions wrote ``sd-metadata`` (JSON) and ``Dream`` (a command).

In the older two, what stands in brackets in the prompt is the negative one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from artflow.metadata.loras import Lora
from artflow.metadata.values import Metadata, json_object, model_name, normalized, renamed

NAMES = {
    "positive_prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height",
    "seed": "seed", "cfg_scale": "guidance_scale", "steps": "steps", "scheduler": "sampler", "strength": "strength",
}  # fmt: skip
OLDER = {
    "width": "width", "height": "height", "seed": "seed", "cfg_scale": "guidance_scale", "steps": "steps",
    "sampler": "sampler", "strength": "strength",
}  # fmt: skip
OPTIONS = {"s": "steps", "S": "seed", "W": "width", "H": "height", "C": "guidance_scale", "A": "sampler"}
DREAM = re.compile(r'\s*"((?:\\.|[^"\\])*)"(.*)', re.DOTALL)
OPTION = re.compile(r"(?<!\S)-([A-Za-z])[ \t]*(\S{1,80})")
NEGATIVE = re.compile(r"\[([^\[\]]*)\]")


def read(texts: Mapping[str, str]) -> Metadata | None:
    """The parameters in the texts of a picture; None where InvokeAI wrote none of them."""
    if data := json_object(texts.get("invokeai_metadata", "")):
        values, unknown = renamed(data, NAMES)
        if model := _model(unknown.pop("model", None)):
            values["model"] = model
        if loras := _loras(unknown):
            values["loras"] = loras
    elif data := json_object(texts.get("sd-metadata", "")):
        image = data.get("image")
        values, unknown = renamed(image if isinstance(image, dict) else {}, OLDER)
        values |= _older_prompts(unknown.pop("prompt", None))
        if model := _model(data.get("model_weights")):
            values["model"] = model
    elif dream := DREAM.match(texts.get("Dream", "")):
        values, unknown = _split(dream[1]), {}
        for option in OPTION.finditer(dream[2]):
            if name := OPTIONS.get(option[1]):
                values.setdefault(name, option[2])
    else:
        return None
    return normalized("InvokeAI", values, unknown) if values else None


def _model(about: Any) -> str | None:
    """A model's name: newer versions describe it by an object, older ones by its name alone."""
    if isinstance(about, dict):
        about = about.get("name") or about.get("model_name")
    return model_name(about)


def _loras(data: dict[str, Any]) -> list[dict[str, Any]]:
    listed = data.get("loras")
    found = []
    for one in listed if isinstance(listed, list) else []:
        name = _model(one.get("model") or one.get("lora")) if isinstance(one, dict) else None
        if name:
            found.append(Lora(name, one.get("weight", 1.0)).as_json())
    return found


def _older_prompts(prompt: Any) -> dict[str, Any]:
    if isinstance(prompt, list):  # of weighted parts
        prompt = " ".join(
            one["prompt"] for one in prompt if isinstance(one, dict) and isinstance(one.get("prompt"), str)
        )
    return _split(prompt) if isinstance(prompt, str) and prompt else {}


def _split(prompt: str) -> dict[str, Any]:
    negative = ", ".join(part.strip() for part in NEGATIVE.findall(prompt) if part.strip())
    return {"prompt": NEGATIVE.sub("", prompt).strip(" ,"), "negative_prompt": negative}
