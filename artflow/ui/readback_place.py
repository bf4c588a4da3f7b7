"""The place where a picture is dropped to get the settings that it was made with."""

from __future__ import annotations

from typing import Any

import gradio as gr

from artflow.modes.readback import fitting, read_back
from artflow.modes.text import TextParams
from artflow.pipeline import Pipeline
from artflow.ui.controls import said
from artflow.ui.files import PictureUpload, read_bytes

Controls = dict[str, gr.components.Component]


def readback_place(pipeline: Pipeline, tabs: gr.Tabs, controls: Controls) -> None:
    """A place for a picture; what it says is shown and filled into ``controls``, and the text tab is opened.

    Args:
        pipeline: whose models and limits count
        tabs: has a tab ``text``
        controls: of the text tab, by parameter name
    """
    with gr.Accordion("Read a picture's settings", open=False, elem_id="artflow-readback"):
        with gr.Row():
            picture = PictureUpload("A picture made by ArtFlow, A1111 or ComfyUI", height=180)
            said_by_it = gr.JSON(label="What it says")
        words = gr.Markdown(elem_id="artflow-readback-words")

    def fill(about: dict[str, Any]) -> list[Any]:
        values, sentence = for_text(pipeline, about)
        updates = [values.get(name, gr.skip()) for name in controls]
        return [*updates, gr.Tabs(selected="text"), f"From {about['source']}. {sentence}"]

    read = picture.upload(_read, picture, said_by_it, api_name="read_back", concurrency_limit=4)
    read.success(
        fill, said_by_it, [*controls.values(), tabs, words], queue=False, show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip


@said
def _read(picture: str | None) -> dict[str, Any]:
    """Read the settings that a picture was made with, from its metadata.

    Args:
        picture: a PNG, JPEG or WebP file by ArtFlow, A1111 or ComfyUI
    """
    found = read_back(read_bytes(picture))
    return {"source": found.source, "mode": found.mode, "values": dict(found.values), "unknown": dict(found.unknown)}


def for_text(pipeline: Pipeline, about: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The values that the text tab can take, and a sentence about those that it cannot."""
    values, refused = fitting(about["values"], TextParams)
    longest = pipeline.settings.server.max_size
    for side in ("width", "height"):
        if values.get(side, 0) > longest:
            refused.append(side)
            del values[side]
    model = values.pop("model", "")
    if model:
        known = {spec.id: "" if spec is pipeline.spec else spec.id for spec in pipeline.choices}
        if model in known:
            values["model"] = known[model]
        else:
            refused.append(f"model {str(model)[:80]}")
    refused += about["unknown"].keys() & TextParams.model_fields.keys()
    names = ", ".join(dict.fromkeys(refused))
    return values, f"Not taken over, because this app has no such value: {names}." if names else ""
