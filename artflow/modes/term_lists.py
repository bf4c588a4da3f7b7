"""Lists of terms in groups, which interrogation compares with a picture and joins to a prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from artflow.errors import ArtflowError

SUBJECT = "subject"
TRENDING = "trending"  # used in prompts; not shown, since it does not describe the picture


@dataclass(frozen=True)
class Limits:
    """How many terms a prompt gets in addition to the subject."""

    least: int = 8  # terms that the chain of "best" adds at least, even if they do not help at first
    most: int = 32  # "best" and "fast"
    classic: int = 3  # styles of "classic"
    compared: int = 32  # styles of the classic prompt that "best" compares with others
    each: int | None = None  # terms of one group at most


@dataclass(frozen=True)
class TermLists:
    """The lists of terms by group, and how a prompt is made of them."""

    groups: dict[str, tuple[str, ...]]
    classic: tuple[tuple[str, ...], ...]
    """The parts of the classic prompt, each with one term of its groups; the last part is the styles."""
    negative: tuple[str, ...] = ()
    """General negative terms."""
    clauses: frozenset[str] = frozenset()
    """Terms that are joined without a comma: a cat *on grass*."""
    limits: Limits = Limits()

    @property
    def modifiers(self) -> list[str]:
        """The groups of terms other than the subject."""
        return [group for group in self.groups if group != SUBJECT]

    @property
    def shown(self) -> list[str]:
        """The groups that are shown with their scores."""
        return [group for group in self.groups if group != TRENDING]

    def joined(self, terms: Iterable[str]) -> str:
        """A prompt of these terms."""
        prompt = ""
        for term in terms:
            prompt += term if not prompt else f" {term}" if term in self.clauses else f", {term}"
        return prompt


@lru_cache(maxsize=4)
def published(folder: Path, spare: Path) -> TermLists:
    """The groups of clip-interrogator, with a list of subjects in place of its captioning model.

    Args:
        folder: text files, a term a line (``presets/interrogate/README.md``)
        spare: the folder of files that ``folder`` does not have

    Raises:
        ArtflowError: ``bad_settings`` for a file that cannot be read, or holds nothing.
    """

    def terms(name: str) -> tuple[str, ...]:
        path = folder / f"{name}.txt"
        return _lines(path if path.is_file() else spare / f"{name}.txt")

    artists, sites = terms("artists"), terms("sites")
    return TermLists(
        groups={
            SUBJECT: terms("subjects"),
            "medium": terms("mediums"),
            "artist": (*(f"by {a}" for a in artists), *(f"inspired by {a}" for a in artists)),
            "movement": terms("movements"),
            "style": terms("flavors"),
            TRENDING: (
                *sites,
                *(f"trending on {site}" for site in sites),
                *(f"featured on {site}" for site in sites),
                *(f"{site} contest winner" for site in sites),
            ),
        },
        classic=((SUBJECT,), ("medium", "artist"), (TRENDING,), ("movement",), ("style",)),
        negative=terms("negative"),
    )


@lru_cache(maxsize=4)
def taught(concepts: Path) -> TermLists:
    """The vocabulary of the embedded model, from its ``concepts.json``: things, backgrounds and styles.

    A prompt gets at most one background and one style, as a picture has one of each.
    """
    table = json.loads(concepts.read_text("utf-8"))
    backgrounds = tuple(map(_placed, table["backgrounds"]))
    return TermLists(
        groups={
            SUBJECT: tuple(_with_article(thing["name"]) for thing in table["concepts"]),
            "background": backgrounds,
            "style": tuple(table["styles"]),
        },
        classic=((SUBJECT, "background"), ("style",)),
        clauses=frozenset(backgrounds),
        limits=Limits(least=0, most=2, classic=1, compared=1, each=1),
    )


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ArtflowError("bad_settings", f"The terms of {path} cannot be read: {error.strerror}.") from None
    terms = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not terms:
        raise ArtflowError("bad_settings", f"There are no terms in {path}.")
    return terms


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _placed(background: str) -> str:
    """A background as in the embedded model's captions: ``on a red background``, ``under a blue sky``."""
    if background == "space":
        return "in space"
    if background.endswith(" sky"):
        return f"under {_with_article(background)}"
    if background.endswith(" background"):
        return f"on {_with_article(background)}"
    return f"on {background}"
