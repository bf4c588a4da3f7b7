"""The styles of Painter: which of them a prompt names, and how much of each.

``presets/styles.yaml`` lists those that come with the app. Those that people have learned are files in
`LEARNED`, each of which says its own name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from artflow.models.catalog import LEARNED_STYLES as LEARNED
from artflow.models.catalog import ROOT
from artflow.prompts.vocabulary import CHINESE, WORD, Reading

PRESET = ROOT / "presets" / "styles.yaml"

# A part of a prompt: in brackets, perhaps with a weight, or up to the next comma.
PART = re.compile(r"\(([^()]*?)(?::\s*(\d+(?:\.\d*)?|\.\d+))?\s*\)|([^,，、;；\n()]+)")
EMPHASIS = 1.1  # what brackets without a number are worth, as in A1111
FOUND = 256  # prompts whose styles are kept
MOST = 10.0  # the largest weight
# Words around the name of a style that say no more than that it is one.
FILLERS = re.compile(
    r"\b(?:in|the|a|an|of|by|as|like|style|styled|painting|picture|artwork|art|painted|drawn|drawing|and|with)\b"
    r"|风格|風格|画风|畫風|的|式"
)
# The name of a style in a sentence, with the words that belong to it: "in the style of ...", "a ... painting of".
AROUND = (
    r"(?:\b(?:in|by|as|like|with)\s+)?(?:\b(?:the|an?)\s+)?(?:\bstyle\s+of\s+)?(?:{names})(?:'s)?"
    r"(?:\s*\b(?:style|styled|painting|picture|drawing|artwork|art)\b|的?(?:风格|風格|画风|畫風))?(?:\s*\bof\b)?"
)


@dataclass(frozen=True)
class Style:
    """One style. ``names`` by language (``en``, ``zh-Hans``, ``zh-Hant``); ``alone``: words that name it only where
    they stand between commas."""

    id: str
    names: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    learned: bool = False
    """Whether somebody here has named it: then it goes by its name between commas alone, as that may be any word."""


@dataclass(frozen=True)
class Found:
    """What a prompt says: styles with their weights, which sum to 1 (or there are none), and what is left of it."""

    styles: Mapping[str, float]
    rest: str


class Styles:
    """The styles that there are, and the words that name them. A value; `styles` gives the current one."""

    def __init__(self, styles: list[Style], default: str) -> None:
        self.styles = styles
        self.default = default
        self._inside: dict[str, str] = {}
        self._alone: dict[str, str] = {}
        for style in styles:
            own = (style.id, style.id.replace("-", " "), *style.names.values())
            for name in (*own, *style.aliases, *style.alone):
                self._alone.setdefault(name.lower(), style.id)
            for name in () if style.learned else (*own, *style.aliases):
                if name not in style.alone:
                    self._inside.setdefault(name.lower(), style.id)
        names = "|".join(
            re.escape(name) if CHINESE.search(name) else rf"(?<!\w){re.escape(name)}(?!\w)"
            for name in sorted(self._inside, key=len, reverse=True)
        )
        self._names = re.compile(names)
        self._around = re.compile(AROUND.format(names=names))
        self._find = lru_cache(FOUND)(self._found)  # each prompt is read several times on its way

    def find(self, prompt: str, without: Collection[str] = ()) -> Found:
        """The styles that a prompt names, anywhere in a sentence, and the rest of it; ``without`` these words."""
        return self._find(prompt, tuple(without))

    def _found(self, prompt: str, without: tuple[str, ...]) -> Found:
        weights: dict[str, float] = {}
        rest = []
        for text, weight in _parts(prompt):
            named, left = ([], text) if text.lower() in without else self._named(text)
            for style in named:
                weights[style] = weights.get(style, 0.0) + weight
            if left:
                rest.append(left)
        total = sum(weights.values())
        shares = {style: weight / total for style, weight in weights.items()} if total > 0 else {}
        return Found(shares, ", ".join(rest))

    def read(self, prompt: str) -> Reading:
        """The prompt as Painter gets it, ``van-gogh:0.6 mosaic:0.4``, and the words in it that are no style.

        Where it names none it is the default with a share of 0: what counts if nothing else says the style.
        """
        found = self.find(prompt)
        shares = found.styles or {self.default: 0.0}
        unknown = tuple(dict.fromkeys(WORD.findall(FILLERS.sub(" ", found.rest.lower()))))
        return Reading(" ".join(f"{style}:{share:.4f}" for style, share in shares.items()), unknown)

    def facts(self, prompt: str) -> dict[str, Any]:
        """What a recipe says of them."""
        read, found = self.read(prompt), self.find(prompt)
        named = {style: round(share, 3) for style, share in found.styles.items()}
        used: dict[str, Any] = {"styles": named} if named else {"default_style": self.default}
        return used | ({"unknown_words": list(read.unknown)} if read.unknown else {})

    def _named(self, text: str) -> tuple[list[str], str]:
        """The styles of a part, and what is left of it: nothing where all else are fillers."""
        bare = " ".join(FILLERS.sub(" ", text.lower()).split())
        for whole in (text.lower(), bare):
            if whole in self._alone:
                return [self._alone[whole]], ""
        named = [self._inside[name.lower()] for name in self._names.findall(text.lower())]
        if not named:
            return [], text
        left = self._around.sub(" ", text.lower())
        return named, " ".join(left.split()) if FILLERS.sub(" ", left).strip() else ""


def _parts(prompt: str) -> Iterator[tuple[str, float]]:
    for part in PART.finditer(prompt):
        inside, weight, plain = part.groups()
        text = (plain if inside is None else inside).strip()
        if not text:
            continue
        factor = 1.0 if inside is None else EMPHASIS if weight is None else min(float(weight), MOST)
        for one in re.split(r"[,，、;；\n]", text):
            if one.strip():
                yield one.strip(), factor


class StyleReader:
    """Reads prompts for Painter, with the styles that there are at each time."""

    def read(self, prompt: str) -> Reading:
        """See `Styles.read`."""
        return styles().read(prompt)

    def facts(self, prompt: str) -> dict[str, Any]:
        """See `Styles.facts`."""
        return styles().facts(prompt)


def styles(learned: Path = LEARNED) -> Styles:
    """The styles that there are now."""
    stamp = learned.stat().st_mtime_ns if learned.is_dir() else 0
    return _styles(learned, stamp)


@lru_cache(maxsize=4)
def _styles(learned: Path, stamp: int) -> Styles:
    table = yaml.safe_load(PRESET.read_text("utf-8"))
    known = [
        Style(
            one["id"], one["names"],
            tuple(str(name) for name in one.get("aliases", ())), tuple(str(name) for name in one.get("alone", ())),
        )
        for one in table["styles"]
    ]  # fmt: skip
    taken = {style.id for style in known}
    files = sorted(learned.glob("*.safetensors"), key=_learned_at) if learned.is_dir() else []
    own = [Style(path.stem, {"en": _name(path)}, learned=True) for path in files if path.stem not in taken]
    return Styles([*known, *own], table["default"])


def _learned_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # deleted meanwhile
        return 0.0


def _name(path: Path) -> str:
    """What a learned style is called."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("name") or path.stem
    except (OSError, SafetensorError):
        return path.stem
