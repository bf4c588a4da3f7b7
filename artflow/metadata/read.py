"""Reading the generation parameters of picture files, whichever program wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from artflow.errors import ArtflowError
from artflow.metadata import a1111, artflow, comfyui, drawthings, fooocus, invokeai, novelai, sdnext, swarmui
from artflow.metadata.texts import texts_of
from artflow.metadata.values import Metadata

READABLE = "ArtFlow, A1111, ComfyUI, InvokeAI, Fooocus, SwarmUI, NovelAI, SD.Next, Draw Things"
OF_THE_PROMPT = ("unknown_words", "prompt_used")


def read_metadata(data: bytes) -> Metadata:
    """The parameters in a picture file; of a huge PNG only what stands before its pixels.

    Raises:
        ArtflowError: ``bad_picture`` if it is no such file, ``no_parameters`` if it holds none that are understood.
    """
    texts = texts_of(data)
    parameters = texts.get("parameters", "")
    found = (
        artflow.read(texts.get("artflow", ""))
        or swarmui.read(parameters)
        or fooocus.read(parameters)
        or invokeai.read(texts)
        or novelai.read(texts)
        or drawthings.read(texts.get("drawthings", ""))
        or _comfyui(texts)
        or sdnext.read(parameters)
        or a1111.read(parameters)
    )
    if found is None:
        raise ArtflowError(
            "no_parameters",
            f"This picture holds no settings that ArtFlow understands ({READABLE}); "
            "screenshots and pictures sent through chats lose them.",
        )
    return found


def _comfyui(texts: Mapping[str, str]) -> Metadata | None:
    """What a graph says, and what it does not say from the text that stands beside it in the file."""
    graph = comfyui.read(texts.get("prompt", ""), texts.get("workflow", ""))
    parameters = texts.get("parameters", "")
    text = sdnext.read(parameters) or a1111.read(parameters) if graph and parameters else None
    if graph is None or text is None:
        return graph
    values = {**text.values, **graph.values}
    missing = tuple(name for name in graph.missing if name not in text.values)
    return replace(graph, values=values, unknown={**text.unknown, **graph.unknown}, missing=missing)


def carried_recipe(data: bytes) -> dict[str, Any]:
    """The recipe to hand on with pictures that are made from this one; empty where the file has no metadata.

    What it says of how a model read its prompt is left out: the next prompt may be another.
    """
    try:
        found = read_metadata(data)
    except ArtflowError:
        return {}
    return {name: value for name, value in found.values.items() if name not in OF_THE_PROMPT} | {"mode": found.mode}
