"""Fooocus: its JSON under ``parameters`` (PNG) or in UserComment (JPEG, WebP), marked by ``fooocus_scheme``.

With the scheme ``a1111`` it writes A1111's text instead, which `a1111` reads. Sizes are texts, ``(1152, 896)``; LoRAs
are lists of name, weight and hash.
"""

from __future__ import annotations

import re
from typing import Any

from artflow.metadata.loras import Lora
from artflow.metadata.values import Metadata, json_object, model_name, normalized, renamed

NAMES = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "steps": "steps", "guidance_scale": "guidance_scale",
    "seed": "seed", "sampler": "sampler", "base_model": "model",
}  # fmt: skip
SIZE = re.compile(r"\(?\s*(\d{1,9})\s*[,x]\s*(\d{1,9})\s*\)?")


def read(text: str) -> Metadata | None:
    """The parameters in a ``parameters`` text; None where it is no JSON of Fooocus."""
    data = json_object(text) if '"metadata_scheme"' in text or '"Fooocus' in text else None
    if data is None or not ("metadata_scheme" in data or str(data.get("version", "")).startswith("Fooocus")):
        return None
    values, unknown = renamed(data, NAMES)
    if model := model_name(values.get("model")):
        values["model"] = model
    if size := SIZE.fullmatch(str(unknown.get("resolution", ""))):
        values |= {"width": size[1], "height": size[2]}
        del unknown["resolution"]
    if loras := _loras(unknown):
        values["loras"] = [lora.as_json() for lora in loras]
    return normalized("Fooocus", values, unknown)


def _loras(data: dict[str, Any]) -> list[Lora]:
    listed = data.get("loras")
    return [
        Lora(model_name(one[0]) or one[0], one[1])
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, list) and len(one) >= 2 and isinstance(one[0], str)
    ]
