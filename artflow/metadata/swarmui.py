"""SwarmUI: JSON under ``parameters`` (PNG) or in UserComment, with the parameters in ``sui_image_params``."""

from __future__ import annotations

from typing import Any

from artflow.metadata.loras import Lora
from artflow.metadata.values import Metadata, json_object, model_name, normalized, renamed

NAMES = {
    "prompt": "prompt", "negativeprompt": "negative_prompt", "model": "model", "seed": "seed", "steps": "steps",
    "cfgscale": "guidance_scale", "width": "width", "height": "height", "sampler": "sampler",
    "comfyuisampler": "sampler", "initimagecreativity": "strength",
}  # fmt: skip


def read(text: str) -> Metadata | None:
    """The parameters in a ``parameters`` text; None where it is no JSON of SwarmUI."""
    data = json_object(text) if '"sui_image_params"' in text else None
    about = data.get("sui_image_params") if data else None
    if not isinstance(about, dict):
        return None
    values, unknown = renamed(about, NAMES)
    if model := model_name(values.get("model")):
        values["model"] = model
    if loras := _loras(about):
        values["loras"] = loras
    return normalized("SwarmUI", values, unknown)


def _loras(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Names and weights are two lists of one order, or two texts with commas."""
    names, weights = (_listed(about.get(key)) for key in ("loras", "loraweights"))
    weights += [1.0] * (len(names) - len(weights))
    return [Lora(model_name(name) or "", weight).as_json() for name, weight in zip(names, weights) if model_name(name)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else value.split(",") if isinstance(value, str) and value else []
