"""The A1111 web UI's ``parameters`` text, which many programs read and write.

The prompt, a line ``Negative prompt: ...``, and a last line of ``Name: value`` pairs that begins with ``Steps:``.
"""

from __future__ import annotations

import re
from typing import Any

from artflow.metadata.values import Metadata, normalized

MAX_FACTS = 20_000  # characters of A1111's last line
NAMES = {
    "steps": "steps", "cfg scale": "guidance_scale", "seed": "seed", "model": "model", "sampler": "sampler",
    "denoising strength": "strength", "hires upscale": "hires_scale", "hires upscaler": "hires_upscaler",
    "hires steps": "hires_steps",
}  # fmt: skip


def read(text: str) -> Metadata | None:
    """The parameters in a ``parameters`` text; None where its last line is not A1111's."""
    head, facts = _split_facts(text.strip())
    if facts is None:
        return None
    prompt, _, negative = head.partition("Negative prompt:")
    values: dict[str, Any] = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    unknown: dict[str, Any] = {}
    for key, value in facts.items():
        name = NAMES.get(key.lower())
        if name:
            values[name] = value
        elif size := re.fullmatch(r"(\d+)\s*x\s*(\d+)", value) if key.lower() == "size" else None:
            values |= {"width": size[1], "height": size[2]}
        else:
            unknown[key] = value
    if "hires_scale" in values and "strength" in values:
        values["hires_denoise"] = values.pop("strength")  # one name for both there
    return normalized("A1111", values, unknown)


def text(recipe: dict[str, Any]) -> str:
    """The recipe as A1111's ``parameters`` text. The recipe may come from outside: any JSON object is accepted."""
    lines = [str(recipe.get("prompt") or "")]
    if negative := str(recipe.get("negative_prompt") or ""):
        lines.append(f"Negative prompt: {negative}")
    facts = {
        "Steps": recipe.get("steps"),
        "Sampler": recipe.get("sampler"),
        "CFG scale": recipe.get("guidance_scale"),
        "Seed": recipe.get("seed"),
        "Size": f"{recipe['width']}x{recipe['height']}" if {"width", "height"} <= recipe.keys() else None,
        "Model": recipe.get("model"),
        "Denoising strength": recipe.get("strength", recipe.get("hires_denoise")),
        "Hires upscale": recipe.get("hires_scale"),
        "Hires upscaler": recipe.get("hires_upscaler"),
        "Hires steps": recipe.get("hires_steps"),
    }
    lines.append(", ".join(f"{name}: {value}" for name, value in facts.items() if value is not None))
    return "\n".join(lines)


def _split_facts(text: str) -> tuple[str, dict[str, str] | None]:
    """The text before its last line, and that line's ``Name: value`` pairs; values may be quoted and hold commas."""
    head, _, last = text.rpartition("\n")
    if not re.match(r"\s*Steps:\s*\d+", last) or len(last) > MAX_FACTS:
        return text, None
    # The length limit on names keeps the search linear on hostile text.
    pairs = re.findall(r'([\w ./()+-]{1,80}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', last)
    return head, {key.strip(): value.strip().strip('"') for key, value in pairs}
