"""The place where a picture is dropped to get the settings that it was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from artflow.errors import ArtflowError
from artflow.modes import readback
from artflow.modes.readback import fitting
from artflow.modes.upscale import check_upscaler
from artflow.pipeline import Pipeline
from artflow.ui.controls import said
from artflow.ui.files import PictureUpload, read_bytes


class Place(NamedTuple):
    """A tab that settings can be filled into."""

    tab: str
    kind: type[BaseModel]  # of its parameters
    controls: Mapping[str, Component]  # by parameter name


def readback_place(
    pipeline: Pipeline, tabs: gr.Tabs, places: Sequence[Place], inner: Mapping[str, tuple[str, gr.Tabs]]
) -> None:
    """A place for a picture; what it says is shown and filled into the tab of its mode, which is opened.

    Args:
        pipeline: whose models and limits count
        tabs: of the page
        places: the tabs to fill; the first takes what belongs to none of them
        inner: the places that are a tab within a tab: which, and the tabs in there
    """
    with gr.Accordion("Read a picture's settings", open=False, elem_id="artflow-readback"):
        with gr.Row():
            picture = PictureUpload("A picture made by ArtFlow, A1111 or ComfyUI", height=180)
            said_by_it = gr.JSON(label="What it says")
        words = gr.Markdown(elem_id="artflow-readback-words")

    def fill(about: dict[str, Any]) -> list[Any]:
        chosen = next((place for place in places if place.tab == about["mode"]), places[0])
        values, sentence = for_place(pipeline, chosen, about)
        updates = [
            values.get(name, gr.skip()) if place is chosen else gr.skip() for place in places for name in place.controls
        ]
        within = [gr.Tabs(selected=name) if tab == chosen.tab else gr.skip() for tab, (name, _) in inner.items()]
        return [*updates, gr.Tabs(selected=chosen.tab), *within, f"From {about['source']}. {sentence}"]

    read = picture.upload(read_back, picture, said_by_it, api_name="read_back", concurrency_limit=4)
    read.success(
        fill, said_by_it,
        [*(c for place in places for c in place.controls.values()), tabs, *(t for _, t in inner.values()), words],
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip


@said
def read_back(picture: str | None) -> dict[str, Any]:
    """Read the settings that a picture was made with, from its metadata.

    Args:
        picture: a PNG, JPEG or WebP file by ArtFlow, A1111 or ComfyUI
    """
    found = readback.read_back(read_bytes(picture))
    return {"source": found.source, "mode": found.mode, "values": dict(found.values), "unknown": dict(found.unknown)}


def _takes(control: Component | None, name: str, value: Any) -> bool:
    """Whether a control can show a value: else Gradio would refuse all that is asked from then on."""
    if name in ("upscaler", "hires_upscaler"):
        try:
            check_upscaler(value)
        except ArtflowError:
            return False
    low, high = getattr(control, "minimum", None), getattr(control, "maximum", None)
    return not isinstance(value, (int, float)) or ((low is None or value >= low) and (high is None or value <= high))


def for_place(pipeline: Pipeline, place: Place, about: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The values that a tab can take, and a sentence about those that it cannot."""
    values, refused = fitting(about["values"], place.kind)
    for name in [name for name, value in values.items() if not _takes(place.controls.get(name), name, value)]:
        refused.append(name)
        del values[name]
    if "hires_scale" in place.controls:  # a picture of one pass does not say so
        values.setdefault("hires_scale", 1)
    model = values.pop("model", "")
    if model and "model" in place.controls:
        known = {spec.id: "" if spec is pipeline.spec else spec.id for spec in pipeline.choices}
        if model in known:
            values["model"] = known[model]
        else:
            refused.append(f"model {str(model)[:80]}")
    refused += about["unknown"].keys() & place.kind.model_fields.keys()
    names = ", ".join(name for name in dict.fromkeys(refused) if name.split()[0] in place.controls)
    return values, f"Not taken over, because this app has no such value: {names}." if names else ""
