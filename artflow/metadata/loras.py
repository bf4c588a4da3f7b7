"""The LoRAs that a picture was made with: named in the prompt (``<lora:name:weight>``) or in lists of their own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

MOST = 100
# Bounded, so that a prompt of nothing but "<lora:" is read at once.
TAG = re.compile(r"[ \t]?<(?:lora|lyco|hypernet):([^<>:\n]{1,200})((?::[^<>:\n]{0,40}){0,4})>", re.IGNORECASE)

RANGE = re.compile(r"[\d.]+-[\d.]+")


@dataclass(frozen=True)
class Lora:
    """A LoRA by the name that its picture gives it; ``range``: the part of the steps that it was used in, as 0-0.5."""

    name: str
    weight: Any = 1.0
    range: str = ""

    def as_json(self) -> dict[str, Any]:
        """As a recipe has it; a weight that is no number is left out."""
        about: dict[str, Any] = {"name": self.name}
        try:
            weight = float(self.weight)
        except (TypeError, ValueError, OverflowError):
            return about
        if not math.isfinite(weight):
            return about
        return about | {"weight": weight} | ({"range": self.range} if self.range else {})


def without_tags(prompt: str) -> tuple[str, list[Lora]]:
    """The prompt without its ``<lora:name:weight>`` tags, and what they name."""
    loras = [_lora(tag) for tag in TAG.finditer(prompt)][:MOST]
    if not loras:
        return prompt, []
    rest = re.sub(r"(?:,[ \t]*){2,}", ", ", TAG.sub("", prompt))
    return re.sub(r"^[ \t]*,[ \t]*|,[ \t]*$", "", rest, flags=re.MULTILINE).strip(), loras


def written(loras: Any) -> str:
    """LoRAs of a recipe as tags of a prompt; what is no list of them is nothing."""
    named = (
        [one for one in loras[:MOST] if isinstance(one, dict) and one.get("name")] if isinstance(loras, list) else []
    )
    return " ".join(
        "<lora:" + ":".join(str(one[key]) for key in ("name", "weight", "range") if key in one) + ">" for one in named
    )


def _lora(tag: re.Match[str]) -> Lora:
    first, *more = (part.strip() for part in tag[2].lstrip(":").split(":"))
    return Lora(tag[1].strip(), first or 1.0, more[0] if len(more) == 1 and RANGE.fullmatch(more[0]) else "")
