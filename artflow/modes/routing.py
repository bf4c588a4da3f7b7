"""Who makes a live picture: the model that was chosen, or those that the words of the prompt ask for."""

from __future__ import annotations

from typing import NamedTuple

from artflow.engine.params import LiveParams
from artflow.models.catalog import Catalog, ModelSpec
from artflow.prompts.loras import asked, split
from artflow.prompts.styles import styles
from artflow.prompts.vocabulary import load_vocabulary

AUTOMATIC = ("realtime", "canvas")
"""Modes in which the prompt chooses."""


class Route(NamedTuple):
    """The model that a picture is made by, the prompt that it gets, and the one that paints over it."""

    spec: ModelSpec
    prompt: str
    over: ModelSpec | None = None


def route(mode: str, params: LiveParams, own: ModelSpec, catalog: Catalog) -> Route:
    """The models for these settings. ``own`` is the app's model.

    Where no model is chosen and ``own`` leaves styles to a painter: a prompt that names styles alone, or nothing, is
    painted; one that names things is drawn, and then painted over if it names a style as well. Styles that ``own``
    was taught itself are left to it beside things. LoRAs and control are for what draws, so asking for one asks for
    ``own``. In the webcam a small model is told of a background where the prompt names none.

    Raises:
        ArtflowError: ``unknown_model``, ``bad_lora``.
    """
    prompt, uses = split(params.prompt)[0], asked(params.prompt, params.loras)
    if params.model:
        spec = own if params.model == own.id else catalog.get(params.model)
        return Route(spec, _drawn(mode, prompt, spec))
    if own.styles_by is None or mode not in AUTOMATIC:
        return Route(own, _drawn(mode, prompt, own))
    painter = catalog.get(own.styles_by)
    plain = not uses and not params.control  # what a painter can do
    if plain and not styles().find(prompt).rest:
        return Route(painter, prompt)
    vocabulary = load_vocabulary(own.source.folder)
    found = styles().find(prompt, without=vocabulary.styles if vocabulary else ())
    if (not plain and not found.rest) or (not found.styles and not params.style_picture):
        return Route(own, _drawn(mode, prompt, own))
    return Route(own, _drawn(mode, found.rest, own), painter)


def _drawn(mode: str, prompt: str, spec: ModelSpec) -> str:
    """The prompt that a model gets. On a canvas what is around a thing has been drawn, and is kept."""
    vocabulary = load_vocabulary(spec.source.folder) if mode == "realtime" else None
    return vocabulary.with_background(prompt) if vocabulary else prompt


def start(mode: str, own: ModelSpec, catalog: Catalog) -> ModelSpec:
    """The model that a mode starts with: the webcam shows people, whom a painter keeps."""
    return catalog.get(own.styles_by) if own.styles_by is not None and mode == "realtime" else own


def at_hand(mode: str, own: ModelSpec, catalog: Catalog) -> list[ModelSpec]:
    """The model that a mode starts with, then those that words may choose instead and that need no download."""
    first = start(mode, own, catalog)
    others = [own, catalog.get(own.styles_by)] if own.styles_by is not None and mode in AUTOMATIC else []
    return [first, *(spec for spec in others if spec.id != first.id and spec.source.hub is None)]
