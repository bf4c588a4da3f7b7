"""The A1111 web UI's ``parameters`` text, which many programs read and write (krita's plug-in among them).

The prompt, then ``Negative prompt: ...`` on a line of its own, then the facts: ``Steps: 20, Sampler: Euler a, ...``.
They begin at the last line that starts with ``Steps: <number>``. A value is plain, a quoted JSON string, which may hold
commas and line breaks, or a JSON list or object (Civitai). Extensions add lines after the facts (``Template: ...``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from artflow.metadata.loras import Lora, written
from artflow.metadata.values import Metadata, exact_json, normalized

MAX_FACTS = 100_000  # characters from the facts on
MOST_BROKEN = 16  # values that begin like JSON and are none; each costs a look at all that follows
NAMES = {
    "steps": "steps", "cfg scale": "guidance_scale", "seed": "seed", "model": "model", "sampler": "sampler",
    "denoising strength": "strength", "hires upscale": "hires_scale", "hires upscaler": "hires_upscaler",
    "hires steps": "hires_steps",
}  # fmt: skip
NEGATIVE = "Negative prompt:"
FACTS = re.compile(r"^[ \t]*Steps:[ \t]*\d+", re.MULTILINE)
# The length limit on names keeps the search linear on hostile text.
NAME = re.compile(r"([^:,\n]{1,80}):[ \t]*")
BETWEEN = re.compile(r"(?:[ \t]*,\s*)*[ \t]*")  # a line break separates only after a comma
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
PLAIN = re.compile(r"[^,\n]*")
SIZE = re.compile(r"(\d{1,9})\s*x\s*(\d{1,9})")
AFTER = "after the settings"  # the name of what follows the facts and has no name


def read(text: str) -> Metadata | None:
    """The parameters in a ``parameters`` text; None where it has neither facts nor a negative prompt."""
    text = text.replace("\r\n", "\n").strip()
    facts = last(FACTS, text)
    if facts is None:
        return interpreted("A1111", text, {}) if _has_negative(text) else None
    if len(text) - facts.start() > MAX_FACTS:
        return None
    return interpreted("A1111", text[: facts.start()], dict_of_first(_facts(text[facts.start() :])))


def interpreted(source: str, head: str, facts: dict[str, Any]) -> Metadata:
    """The parameters in what stands before the facts and in the facts, by A1111's names."""
    prompt, negative = _split_prompts(head)
    values: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative}
    unknown: dict[str, Any] = {}
    for key, value in facts.items():
        name = NAMES.get(key.lower())
        if name and name not in values and not isinstance(value, (list, dict)):
            values[name] = value
        elif key.lower() == "size" and (size := SIZE.fullmatch(str(value))):
            values |= {"width": size[1], "height": size[2]}
        else:
            unknown[key] = value
    if loras := _civitai(facts, values):
        values["loras"] = [lora.as_json() for lora in loras]
    if "hires_scale" in values and "strength" in values:
        values["hires_denoise"] = values.pop("strength")  # one name for both there
    return normalized(source, values, unknown)


def text(recipe: dict[str, Any]) -> str:
    """The recipe as A1111's ``parameters`` text. The recipe may come from outside: any JSON object is accepted."""
    lines = [" ".join(part for part in (str(recipe.get("prompt") or ""), written(recipe.get("loras"))) if part)]
    if negative := str(recipe.get("negative_prompt") or ""):
        lines.append(f"{NEGATIVE} {negative}")
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
    lines.append(", ".join(f"{name}: {_value(value)}" for name, value in facts.items() if value is not None))
    return "\n".join(lines)


def _value(value: Any) -> str:
    """A value as A1111 writes it: quoted where it would be taken for several."""
    plain = str(value)
    return json.dumps(plain, ensure_ascii=False) if any(sign in plain for sign in ',:\n"') else plain


def last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last match of a pattern."""
    found = None
    for match in pattern.finditer(text):
        found = match
    return found


def dict_of_first(pairs: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dictionary, in which the first of two equal keys counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _has_negative(text: str) -> bool:
    return any(line.startswith(NEGATIVE) for line in text.split("\n"))


def _split_prompts(head: str) -> tuple[str, str]:
    """Prompt and negative prompt; only a line that begins with ``Negative prompt:`` starts the second."""
    prompt: list[str] = []
    negative: list[str] = []
    lines = prompt
    for line in head.strip().split("\n"):
        if line.startswith(NEGATIVE):
            lines, line = negative, line.removeprefix(NEGATIVE).lstrip()
        lines.append(line)
    return "\n".join(prompt).strip(), "\n".join(negative).strip()


def _facts(text: str) -> Iterator[tuple[str, Any]]:
    """``Name: value`` pairs, from the first line on as long as commas continue it; then one pair a line."""
    at, broken = 0, 0
    while (at := _end(BETWEEN, text, at)) < len(text) and text[at] != "\n":
        value: Any = None
        if name := NAME.match(text, at):
            at = name.end()
            if text[at : at + 1] in ('"', "[", "{") and broken < MOST_BROKEN:
                value, at = _json_value(text, at)
                broken += value is None
        rest, at = text[at : (end := _end(PLAIN, text, at))].strip(), end
        yield name[1].strip() if name else AFTER, rest if value is None else value
    for line in text[at:].split("\n"):
        key, colon, value = line.strip(" \t,").partition(":")
        if key.strip():
            yield (key.strip(), value.strip()) if colon and len(key) <= 80 else (AFTER, line.strip())


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern that may match nothing ends."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _json_value(text: str, at: int) -> tuple[Any, int]:
    """The quoted or JSON value at a place, and where it ends; None where there is no whole one."""
    if text[at] == '"':
        quoted = QUOTED.match(text, at)
        if quoted is None:
            return None, at
        try:
            return json.loads(quoted[0], strict=False), quoted.end()
        except ValueError:  # escaped by nobody's rules
            return quoted[0][1:-1], quoted.end()
    return exact_json(text, at)


def _civitai(facts: dict[str, Any], values: dict[str, Any]) -> list[Lora]:
    """The LoRAs that Civitai lists in the facts; its checkpoint is noted where no other model is named."""
    listed = facts.get("Civitai resources")
    loras = []
    for one in listed if isinstance(listed, list) else []:
        kind = str(one.get("type", "")).lower() if isinstance(one, dict) else ""
        name = one.get("modelName") if kind else None
        if kind == "checkpoint" and isinstance(name, str) and name:
            values.setdefault("model", name)
        elif kind in ("lora", "lycoris", "locon", "dora"):
            version = one.get("modelVersionId")
            loras.append(Lora(str(name or f"modelVersionId {version}"), one.get("weight", 1.0)))
    return loras
