"""Interrogation: from a picture to a prompt, after `clip-interrogator` (pharmapsychotic, MIT).

The package needs `open_clip` and torchvision, so its method is implemented here on `transformers`. One thing differs:
the package begins every prompt with the caption of another model (BLIP, one or two GB); here it is the nearest of a
list of subjects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size
from artflow.job_context import Errand, here
from artflow.modes.term_lists import SUBJECT, TermLists

if TYPE_CHECKING:
    from artflow.models.clip import Features, SharedTowers, Towers

MODES = {
    "best": "Best: tries many combinations",
    "fast": "Fast: the nearest terms",
    "classic": "Classic: subject, medium, artist, style",
    "negative": "Negative: what it is least like",
}
SHOWN = 5  # terms of each group
SMALLEST = 8  # pixels of the shorter side
PIECE = 0.05  # seconds that one piece of work should take, since live frames wait for it
FEWEST_TEXTS = 16  # in one piece; each piece reads all weights, so smaller ones are not much faster
BETWEEN_NEWS = 0.2  # seconds between two progress reports
MOST_TEXTS = 256  # in one piece, which limits memory

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Interrogation:
    """The result of an interrogation."""

    prompt: str
    similarity: float | None  # of picture and prompt: the cosine, -1 to 1; None where no towers compared them
    groups: dict[str, list[tuple[str, float]]]
    """The nearest terms of each group, best first, each with its share of the group, 0 to 1."""


def interrogate(
    picture: Picture,
    towers: Towers | SharedTowers,
    lists: TermLists,
    mode: str = "best",
    *,
    candidates: int = 2048,
    folder: Path | None = None,
    errand: Errand = here,
    on_progress: OnProgress = lambda doing, done, total: None,
    cancelled: threading.Event | None = None,
) -> Interrogation | None:
    """A prompt for the picture and the nearest terms of each group; None when cancelled.

    Args:
        picture: any size from 8 x 8; its centre square is used
        towers: the CLIP model
        lists: the terms by group
        mode: one of `MODES`
        candidates: how many of the nearest terms "best" and "negative" try out
        folder: the cache of text features; None: no cache
        errand: runs one piece of work (about 50 ms if possible) where the device is
        on_progress: gets what is done now, the count done, and the total
        cancelled: ends it before its next piece

    Raises:
        ArtflowError: ``bad_parameter``, ``picture_too_small``.
    """
    check(picture, mode)
    reader = _Reader(towers, folder, errand, on_progress, cancelled or threading.Event())
    try:
        return _Picture(reader, lists, picture).answer(mode, candidates)
    except Cancelled:
        return None


def check(picture: Picture, mode: str) -> None:
    """Check the arguments of `interrogate` before a model is loaded; raises as it does."""
    if not isinstance(mode, str) or mode not in MODES:
        raise ArtflowError("bad_parameter", f"mode cannot be {str(mode)[:40]!r}; allowed are {', '.join(MODES)}.")
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST:
        sentence = f"The picture is {Size(width, height)}; {SMALLEST} pixels a side are needed to see anything in it."
        raise ArtflowError("picture_too_small", sentence)


class _Reader:
    """Runs the towers in pieces short enough for live frames in between, with progress and cancellation."""

    def __init__(
        self,
        towers: Towers | SharedTowers,
        folder: Path | None,
        errand: Errand,
        on_progress: OnProgress,
        cancelled: threading.Event,
    ) -> None:
        self.towers = towers
        self._folder, self._errand, self._say, self._cancelled = folder, errand, on_progress, cancelled
        self._piece = FEWEST_TEXTS  # texts a piece; adapted to what the device does in `PIECE` seconds
        self._said = 0.0

    def encode_image(self, picture: Picture) -> Features:
        self._say("Looking at picture", 1, 1)
        rows, _ = self._on_device(self.towers.encode_image, picture)
        return rows

    def encode_text(self, texts: Sequence[str], doing: str) -> Features:
        """The embeddings of texts, in pieces; reports ``doing`` and the count of texts."""
        rows: list[Features] = []
        done = 0
        while done < len(texts):
            self._tell(doing, done, len(texts))
            part = texts[done : done + self._piece]
            row, took = self._on_device(self.towers.encode_text, part)
            rows.append(row)
            done += len(part)
            if took < PIECE / 2:
                self._piece = min(MOST_TEXTS, self._piece * 2)
            elif took > PIECE * 2:
                self._piece = max(FEWEST_TEXTS, self._piece // 2)
        return np.concatenate(rows)

    def table(self, group: str, terms: Sequence[str]) -> Features:
        """The embeddings of a whole list, from the disk cache if it has them."""
        from artflow.models.features import features

        return features(
            self._folder, self.towers, group, terms, lambda: self.encode_text(terms, f"Reading {group} terms,")
        )

    def _tell(self, doing: str, done: int, total: int) -> None:
        now = monotonic()
        if done == 0 or now - self._said > BETWEEN_NEWS:
            self._said = now
            self._say(doing, done, total)

    def full(self, text: str) -> bool:
        """Whether a prompt can take no more."""
        full: bool = self._errand(self.towers.full, text)
        return full

    def _on_device(self, work: Callable[[Any], Features], what: Any) -> tuple[Features, float]:
        """The result of ``work(what)`` on the device, and the seconds it took."""
        if self._cancelled.is_set():
            raise Cancelled
        timed: tuple[Features, float] = self._errand(_timed, work, what)
        return timed


def _timed(work: Callable[[Any], Features], what: Any) -> tuple[Features, float]:
    began = monotonic()
    return work(what), monotonic() - began


class _Picture:
    """One picture and its similarity to all terms."""

    def __init__(self, reader: _Reader, lists: TermLists, picture: Picture) -> None:
        self._reader, self._lists, self._limits = reader, lists, lists.limits
        self._seen = reader.encode_image(picture)[0]
        self._scores = {group: reader.table(group, terms) @ self._seen for group, terms in lists.groups.items()}

    def answer(self, mode: str, candidates: int) -> Interrogation:
        caption = self._best(SUBJECT)[0]
        match mode:
            case "fast":
                prompt = self._fast(caption)
            case "classic":
                prompt = self._classic(caption, self._limits.classic)
            case "negative":
                prompt = self._negative(candidates)
            case _:
                prompt = self._thorough(caption, candidates)
        similarity = float(self._similarities([prompt])[0])
        return Interrogation(prompt, similarity, {group: self._shares(group) for group in self._lists.shown})

    # -- the published modes ----------------------------------------------------------------------------------------

    def _fast(self, caption: str) -> str:
        """The subject and the nearest terms of all other groups together."""
        return self._fitting([caption, *self._nearest(self._limits.most)])

    def _classic(self, caption: str, styles: int) -> str:
        """One term of each group in a fixed order, and some styles."""
        *parts, last = self._lists.classic
        prompt = []
        for groups in parts:
            words = [caption if group == SUBJECT else self._best(group)[0] for group in groups]
            if words[0] != caption and caption.startswith(words[0]):
                words = words[1:]  # the caption begins with the medium already
            prompt.append(" ".join(words))
        return self._fitting([*prompt, *self._best(last[0], styles)])

    def _thorough(self, caption: str, candidates: int) -> str:
        """The most similar of four prompts: subject, classic, fast, and a chain of terms added greedily."""
        chain = self._chain(self._nearest(candidates), caption)
        found = [caption, self._classic(caption, self._limits.compared), self._fast(caption), chain]
        return found[int(np.argmax(self._similarities(found)))]

    def _negative(self, candidates: int) -> str:
        """A chain of the terms least similar to the picture, and of the general negative terms.

        (The published chain compares negated similarities with a plain one and so stops at its first term.)
        """
        groups = ["style"] if self._lists.negative else list(self._lists.groups)
        return self._chain([*self._nearest(candidates, groups, sign=-1), *self._lists.negative], sign=-1)

    def _chain(self, phrases: Sequence[str], prompt: str = "", sign: int = 1) -> str:
        """Greedily add the phrase that makes the prompt most (``sign`` -1: least) similar; return the best prompt."""
        rest = list(dict.fromkeys(phrases))
        if not prompt:
            prompt = rest.pop(int(np.argmax(sign * self._similarities(rest))))
        best, nearest = prompt, sign * float(self._similarities([prompt])[0])
        current, current_nearest = best, nearest
        for number in range(self._limits.most):
            if not rest:
                break
            longer = [self._lists.joined([current, phrase]) for phrase in rest]
            scores = sign * self._similarities(longer, f"Improving the prompt, round {number + 1}:")
            index = int(np.argmax(scores))
            added, score = longer[index], float(scores[index])
            if score > nearest:
                best, nearest = added, score
            if score <= current_nearest and number >= self._limits.least:
                break
            current, current_nearest = added, score
            del rest[index]
            if self._reader.full(current):
                break
        return best

    # -- parts ------------------------------------------------------------------------------------------------------

    def _similarities(self, texts: Sequence[str], doing: str = "Comparing") -> Features:
        scores: Features = self._reader.encode_text(texts, doing) @ self._seen
        return scores

    def _best(self, group: str, count: int = 1) -> list[str]:
        terms = self._lists.groups[group]
        return [terms[i] for i in np.argsort(-self._scores[group], kind="stable")[:count]]

    def _nearest(self, count: int, groups: Sequence[str] = (), sign: int = 1) -> list[str]:
        """The nearest terms of the groups together; without groups, of all but the subject."""
        scored: list[tuple[float, str]] = []
        for group in groups or self._lists.modifiers:
            scores, terms = sign * self._scores[group], self._lists.groups[group]
            scored += [(float(scores[i]), terms[i]) for i in np.argsort(-scores, kind="stable")[: self._limits.each]]
        return [term for _, term in sorted(scored, key=lambda one: -one[0])[:count]]

    def _shares(self, group: str) -> list[tuple[str, float]]:
        scores = self._scores[group] * self._reader.towers.scale
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        order = np.argsort(-shares, kind="stable")[:SHOWN]
        return [(self._lists.groups[group][i], float(shares[i])) for i in order]

    def _fitting(self, parts: Sequence[str]) -> str:
        """The parts joined, without those beyond the text tower's maximum length."""
        prompt = parts[0]
        for part in parts[1:]:
            longer = self._lists.joined([prompt, part])
            if self._reader.full(longer):
                break
            prompt = longer
        return prompt
