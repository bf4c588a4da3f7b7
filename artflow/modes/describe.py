"""Describes a photo or a painting in words: "a photo of a tabby cat, brown background, soft light".

The subject is a name of the photo classifier's or a person whose face was found; all other words are measured
(`artflow.modes.appearance`), and none is said that no measurement supports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artflow.images import Picture
from artflow.modes import appearance
from artflow.modes.interrogate import SHOWN, Interrogation
from artflow.modes.term_lists import SUBJECT

if TYPE_CHECKING:
    from artflow.models.classifier import Look
    from artflow.models.faces import Face

SURE = 0.35  # the share from which a name or a kind is said without "perhaps": right in nine of ten held-out photos
PORTRAIT = 0.3  # height of a face, in parts of the picture's, from which the picture is a portrait
FASTEST = 3  # measured terms of a "fast" prompt
OF_NEAR_FACES = ("a monkey", "an ape")  # the detector takes theirs for people's
COUNTS = {2: "two people", 3: "three people", 4: "four people"}


@dataclass(frozen=True)
class Subject:
    """What a picture shows, as it is said, and how sure that is."""

    name: str  # "a tabby cat", "two people"
    share: float  # 0 to 1; 1 for people, who are found or not
    sure: bool
    people: int = 0
    portrait: bool = False


def subject(look: Look, faces: Sequence[Face]) -> Subject:
    """People if there are faces, and no monkey is sure; else the nearest name, or what the nearest have in common.

    A name or a kind is sure from a share of `SURE`. The kind is said, as in "a dog", where the name is not sure, and
    where it is less than half of its kind's share, so that another dog is as near.
    """
    kind, together = look.kinds[0]
    if faces and not (kind in OF_NEAR_FACES and together >= SURE):
        portrait = len(faces) == 1 and faces[0].height >= PORTRAIT
        name = "a person" if len(faces) == 1 else COUNTS.get(len(faces), "a group of people")
        return Subject(name, 1.0, True, len(faces), portrait)
    name, share = look.names[0]
    if together >= SURE and share < max(SURE, together / 2):
        return Subject(kind, together, True)
    return Subject(name, share, share >= SURE)


def describe(picture: Picture, look: Look, faces: Sequence[Face], mode: str) -> Interrogation:
    """A prompt for the picture, and the terms of each group; its ``similarity`` is None, as no towers compare.

    - "best": the subject and every term that is supported
    - "fast": the subject and the three strongest
    - "classic": the subject and the strongest of each group
    - "negative": the weakest of each group, and the media that it is not

    Args:
        picture: uint8 of shape (height, width, 3)
        look: what the classifier sees in it
        faces: those in it
        mode: one of `artflow.modes.interrogate.MODES`
    """
    shown = subject(look, faces)
    # The classifier's heat shows where its name is, which says nothing where a person was found, or it only guesses.
    seen = appearance.measured(picture, look.where if shown.sure and not shown.people else None)
    groups = {
        "background": appearance.background(seen), "light": appearance.light(seen), "colour": appearance.colours(seen),
        "composition": appearance.composition(seen),
    }  # fmt: skip
    if mode == "negative":
        weakest = [min(terms, key=terms.__getitem__) for terms in groups.values() if terms]
        prompt = ", ".join([*(medium for medium, _ in look.media[1:]), *weakest])
    else:
        supported = [appearance.supported(terms) for terms in groups.values()]
        match mode:
            case "fast":
                every = {term: strength for terms in groups.values() for term, strength in terms.items()}
                said = appearance.supported(every)[:FASTEST]
            case "classic":
                said = [term for terms in supported for term in terms[:1]]
            case _:
                said = [term for terms in supported for term in terms]
        twice = {term.replace(" background", " tones") for term in said if term.endswith(" background")}
        prompt = ", ".join([_sentence(look.media[0][0], shown), *(term for term in said if term not in twice)])
    names = [(shown.name, shown.share)] if shown.people else look.names[:SHOWN]
    shares = {group: _shares(terms) for group, terms in groups.items()}
    return Interrogation(prompt, None, {SUBJECT: names, "medium": look.media, **shares})


def _sentence(medium: str, shown: Subject) -> str:
    if shown.portrait:
        return f"a portrait of {shown.name}, {medium}"
    return f"{medium} of {shown.name}" if shown.sure else f"{medium}, perhaps of {shown.name}"


def _shares(terms: appearance.Terms) -> list[tuple[str, float]]:
    """The strongest terms, each with its share of the group's strengths."""
    total = sum(terms.values()) or 1.0
    return sorted(((term, strength / total) for term, strength in terms.items()), key=lambda one: -one[1])[:SHOWN]
