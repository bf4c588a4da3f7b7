"""NovelAI: JSON under ``Comment``, beside ``Description`` (the prompt) and ``Source`` (the model).

WebP files hold the same names in one JSON object in UserComment. From version 4 on, characters have captions of their
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artflow.metadata.values import Metadata, json_object, normalized, renamed

NAMES = {
    "prompt": "prompt", "uc": "negative_prompt", "steps": "steps", "seed": "seed", "width": "width",
    "height": "height", "scale": "guidance_scale", "sampler": "sampler", "strength": "strength",
}  # fmt: skip


def read(texts: Mapping[str, str]) -> Metadata | None:
    """The parameters in the texts of a picture; None where NovelAI wrote none of them."""
    data = json_object(texts.get("Comment", ""))
    by_novelai = texts.get("Software") == "NovelAI" or "NovelAI" in texts.get("Source", "")
    if data is None or not (by_novelai or {"uc", "sampler"} <= data.keys()):
        return None
    values, unknown = renamed(data, NAMES)
    if "prompt" not in values and texts.get("Description"):
        values["prompt"] = texts["Description"]
    for name, key in (("prompt", "v4_prompt"), ("negative_prompt", "v4_negative_prompt")):
        if caption := _caption(unknown.pop(key, None)):
            values[name] = caption
    if texts.get("Source"):
        values["model"] = texts["Source"]
    return normalized("NovelAI", values, unknown)


def _caption(about: Any) -> str:
    """The caption of the picture and, each on its line, those of its characters."""
    caption = about.get("caption") if isinstance(about, dict) else None
    if not isinstance(caption, dict):
        return ""
    characters = caption.get("char_captions")
    parts = [caption.get("base_caption")]
    parts += (
        [one.get("char_caption") for one in characters if isinstance(one, dict)] if isinstance(characters, list) else []
    )
    return "\n".join(part for part in parts if isinstance(part, str) and part)
