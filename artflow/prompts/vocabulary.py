"""What a small model knows: which words of a prompt it was never taught, and Chinese names of what it was.

A model folder says so in ``concepts.json``: ``concepts`` and ``scenery`` (each with ``name``, ``synonyms``, ``zh``,
``zh-Hant``), ``backgrounds``, ``colours``, ``styles`` and ``vocabulary`` (every single word).
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

CHINESE = re.compile(r"[\u3400-\u9fff]")
LETTER = rf"(?!{CHINESE.pattern})[^\W_]"  # of any alphabet, or a digit
WORD = re.compile(rf"(?:{LETTER})+(?:'(?:{LETTER})+)?")
PART = re.compile(rf"{CHINESE.pattern}+|{WORD.pattern}")
# Chinese words that carry no picture of their own: on, of, one, with, and ...
PARTICLES = re.compile(r"[的了在上下里裡中一只隻个個和与與有是座朵条條张張幅片画畫颗顆，。、！\s]")


@dataclass(frozen=True)
class Reading:
    """A prompt as the model gets it, and the words in it that the model does not know."""

    text: str
    unknown: tuple[str, ...] = ()


class Vocabulary:
    """The words of one model."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.things: list[str] = [concept["name"] for concept in table["concepts"]]
        self.backgrounds: list[str] = table["backgrounds"]
        self.styles: list[str] = table["styles"]
        self._words = set(table["vocabulary"])
        self._colours = set(table["colours"])
        self._chinese: dict[str, str] = {}
        for entry in (*table["scenery"], *table["concepts"]):
            for name in (*entry.get("zh", ()), *entry.get("zh-Hant", ())):
                self._chinese.setdefault(name, entry["name"])
        longest_first = sorted(self._chinese, key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._english = {entry["name"]: entry["name"] for entry in (*table["scenery"], *table["concepts"])}
        for thing in table["concepts"]:
            self._english |= dict.fromkeys(thing["synonyms"], thing["name"])
        words = "|".join(map(re.escape, sorted(self._english, key=len, reverse=True)))
        self._mixed = re.compile(rf"{self._names.pattern}|(?<![a-z])(?:{words})(?![a-z])") if self._names else None
        synonyms = [synonym for thing in table["concepts"] for synonym in thing["synonyms"]]
        self._thing = _any_of([*self.things, *synonyms])
        self._around = _any_of(["background", "sky", *(re.sub("^(a|the) ", "", name) for name in self.backgrounds)])

    def read(self, prompt: str) -> Reading:
        """The prompt in words that the model was taught; Chinese is rebuilt in the order of its captions."""
        if CHINESE.search(prompt) and self._names is not None:
            return self._from_chinese(prompt)
        words = WORD.findall(unicodedata.normalize("NFC", prompt).lower())  # accents as one letter with theirs
        return Reading(prompt, tuple(dict.fromkeys(w for w in words if w not in self._words)))

    def with_background(self, prompt: str) -> str:
        """The prompt in the model's words, with a white background where it names a thing and nothing around it.

        A model that is told nothing of what is around the thing keeps of a camera's picture what is there, as a haze.
        """
        text = self.read(prompt).text
        if self._around.search(text.lower()) or not self._thing.search(text.lower()):
            return prompt
        if CHINESE.search(prompt):
            return f"{prompt}，白色背景"
        thing, comma, rest = prompt.partition(",")
        return f"{thing.rstrip()} on a white background{comma}{rest}"

    def facts(self, prompt: str) -> dict[str, Any]:
        """What a recipe says of the words that were really used: nothing where they are the prompt itself."""
        read = self.read(prompt)
        used = {"prompt_used": read.text} if read.text != prompt else {}
        return used | ({"unknown_words": list(read.unknown)} if read.unknown else {})

    def _from_chinese(self, prompt: str) -> Reading:
        assert self._mixed is not None
        prompt = prompt.lower()
        found = list(dict.fromkeys(self._chinese.get(n) or self._english[n] for n in self._mixed.findall(prompt)))
        rest = PARTICLES.sub(" ", self._mixed.sub(" ", prompt))
        parts = [part for part in PART.findall(rest) if part not in ("s", "'s")]
        return Reading(self._caption(found), tuple(part for part in parts if part not in self._words))

    def _caption(self, names: list[str]) -> str:
        """``a cat on grass under a night sky, flat style``: things, then the scene, then the style."""
        things = [n for n in names if n in self.things]
        colours = [n for n in names if n in self._colours]
        styles = [n for n in names if n in self.styles]
        skies = [n for n in names if n.endswith(" sky")]
        grounds = [n for n in names if n not in {*things, *colours, *styles, *skies, "background"}]
        caption = " and ".join(f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}" for thing in things)
        if grounds:
            caption += f" {'in' if grounds[0] == 'space' else 'on'} {grounds[0]}"
        if skies:
            caption += f" under a {skies[0]}"
        if colours and not grounds and not skies:
            caption += f" on {'an' if colours[0][0] in 'aeiou' else 'a'} {colours[0]} background"
        return ", ".join([caption.strip(), *styles[:1]])


def _any_of(words: list[str]) -> re.Pattern[str]:
    """Finds any of these words, or their plural, in lower case."""
    return re.compile(rf"(?<![a-z])(?:{'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})s?(?![a-z])")


@lru_cache(maxsize=8)
def load_vocabulary(folder: Path | str | None) -> Vocabulary | None:
    """The vocabulary of a model folder; None for models that are not limited to one."""
    path = Path(folder) / "concepts.json" if folder is not None else None
    if path is None or not path.is_file():
        return None
    return Vocabulary(json.loads(path.read_text("utf-8")))
