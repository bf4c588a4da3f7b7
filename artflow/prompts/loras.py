"""LoRAs that a prompt asks for, as the field writes them: ``<lora:name:0.8>``, or ``<lora:name:0.8:0-0.5>`` for the
first half of the steps; and together with those of a list beside the prompt."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from artflow.errors import ArtflowError
from artflow.metadata.loras import TAG, without_tags

MOST = 8  # LoRAs of one picture
HEAVIEST = 2.0
RANGE = re.compile(r"\s*(0|1|0?\.\d+|1\.0+)\s*-\s*(0|1|0?\.\d+|1\.0+)\s*")


class LoraUse(NamedTuple):
    """A LoRA of a picture: its weight, -2 to 2, and the part of the picture's steps that it is used in, 0 to 1."""

    name: str
    weight: float
    begin: float = 0.0
    end: float = 1.0


def _as_dict(value: Any) -> Any:
    """Names and weights out of JSON, or of what pictures' metadata have: a list of ``{"name", "weight"}``."""
    if isinstance(value, str):
        value = json.loads(value) if value.strip() else {}  # what is no JSON raises a ValueError
    if isinstance(value, list | tuple):
        if not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in value):
            raise ValueError("each is {name, weight}")
        if any(one.get("range") for one in value):
            raise ValueError("a range goes into the prompt: <lora:name:0.8:0-0.5>")
        by_name = {one["name"]: one.get("weight", 1.0) for one in value}
        if len(by_name) < len(value):
            raise ValueError("each name once")
        return by_name
    return value


Loras = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=200)], Annotated[float, Field(ge=-HEAVIEST, le=HEAVIEST)]],
    BeforeValidator(_as_dict),
    Field(max_length=MOST),
]
"""The type of a parameter: weights by name."""


@lru_cache(1024)
def split(prompt: str) -> tuple[str, tuple[LoraUse, ...]]:
    """The text without its tags, and what they ask for.

    Raises:
        ArtflowError: ``bad_lora``, for a weight that is no number or a range that is none.
    """
    if "<" not in prompt:
        return prompt, ()
    uses = tuple(_use(tag) for tag in TAG.finditer(prompt))
    return without_tags(prompt)[0], uses


def with_tags(text: str, prompt: str) -> str:
    """A text with the tags of a prompt behind it."""
    return " ".join([text, *(tag[0].strip() for tag in TAG.finditer(prompt))])


def asked(prompt: str, loras: Mapping[str, float]) -> tuple[LoraUse, ...]:
    """All LoRAs of a picture: those in its prompt, and those beside it; weights of the same one are added.

    Raises:
        ArtflowError: ``bad_lora``, also for too many or too heavy ones, and for one with two ranges.
    """
    uses = {use.name: use for use in (LoraUse(name, weight) for name, weight in loras.items())}
    for use in split(prompt)[1]:
        before = uses.get(use.name, use._replace(weight=0.0))
        if use[2:] != before[2:]:
            ranges = f"{_range(before)} and {_range(use)}"
            raise ArtflowError("bad_lora", f"The LoRA {use.name!r} is asked for in {ranges}; one range is allowed.")
        uses[use.name] = use._replace(weight=round(use.weight + before.weight, 6))
    if len(uses) > MOST:
        raise ArtflowError("bad_lora", f"{len(uses)} LoRAs are asked for; at most {MOST} are allowed.")
    for use in uses.values():
        if abs(use.weight) > HEAVIEST:
            sentence = f"The LoRA {use.name!r} cannot have the weight {use.weight:g}; -2 to 2 is allowed."
            raise ArtflowError("bad_lora", sentence)
    return tuple(uses.values())


def check_tags(prompt: str, where: str) -> None:
    """Refuse LoRAs in a text that cannot have any.

    Raises:
        ArtflowError: ``bad_lora``.
    """
    if split(prompt)[1]:
        raise ArtflowError("bad_lora", f"`{where}` cannot ask for LoRAs; write them into the prompt.")


def at(uses: Iterable[LoraUse], progress: float) -> tuple[tuple[str, float], ...]:
    """Names and weights for a step, of which so much of the steps (0 to below 1) lies before."""
    return tuple((use.name, use.weight) for use in uses if use.begin <= progress + 1e-9 < use.end)


def listed(uses: Iterable[LoraUse]) -> list[dict[str, Any]]:
    """As a recipe has them."""
    return [
        {"name": use.name, "weight": use.weight} | ({} if (use.begin, use.end) == (0, 1) else {"range": _range(use)})
        for use in uses
    ]


def _range(use: LoraUse) -> str:
    """As `RANGE` reads it: plain decimals."""
    return "-".join(f"{part:.9f}".rstrip("0").rstrip(".") for part in (use.begin, use.end))


def _use(tag: re.Match[str]) -> LoraUse:
    shown = tag[0].strip()
    parts = [part.strip() for part in tag[2].split(":")[1:]]
    try:
        weight = float(parts[0]) if parts and parts[0] else 1.0
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise ArtflowError("bad_lora", f"{shown[:80]} has no weight that is a number, such as 0.8.")
    if len(parts) < 2:
        return LoraUse(tag[1].strip(), weight)
    found = RANGE.fullmatch(parts[1]) if len(parts) == 2 else None
    if found is None or not float(found[1]) < float(found[2]):
        raise ArtflowError("bad_lora", f"{shown[:80]} has no range of steps; write it as <lora:name:0.8:0-0.5>.")
    return LoraUse(tag[1].strip(), weight, float(found[1]), float(found[2]))
