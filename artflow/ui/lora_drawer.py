"""The drawer of LoRAs in a tab: which are used, each with its weight, moved live."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from artflow.errors import ArtflowError
from artflow.models import lora_files
from artflow.pipeline import Pipeline
from artflow.prompts.loras import HEAVIEST, MOST
from artflow.ui.controls import described

FIRST_WEIGHT = 0.8
COLLECT = """(chosen, ...weights) =>
  JSON.stringify(Object.fromEntries((chosen ?? []).map((name, i) => [name, weights[i]])))"""


def lora_drawer(pipeline: Pipeline, place: str) -> gr.Textbox:
    """Build the drawer of a tab; what is returned holds ``loras`` as JSON, and changes as sliders move."""
    folder, at = pipeline.settings.models.lora_dir, f"artflow-{place}-lora"
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Accordion("LoRA", open=False, elem_id=at) as drawer:
        chosen = gr.Dropdown(
            [], label="LoRAs", multiselect=True, max_choices=MOST, elem_id=f"{at}-choice",
            info="files of the folder models.lora_dir, and those of the app; in a prompt: <lora:name:0.8>",
        )  # fmt: skip
        with gr.Row():
            sliders = [
                gr.Slider(
                    -HEAVIEST, HEAVIEST, FIRST_WEIGHT, step=0.05, visible=False, min_width=240, elem_id=f"{at}-{i}"
                )
                for i in range(MOST)
            ]
    held = described(gr.Textbox("{}", label="LoRAs", visible="hidden", elem_id=f"{at}-value"), {"type": "string"})

    def shown(names: list[str], weights: dict[str, float]) -> list[Any]:
        return [
            gr.Slider(label=_label(pipeline, names[i]), value=weights.get(names[i], FIRST_WEIGHT), visible=True)
            if i < len(names)
            else gr.Slider(visible=False)
            for i in range(MOST)
        ]

    def choose(names: list[str] | None, text: str) -> list[Any]:
        names, before = names or [], json.loads(text or "{}")
        weights = {name: before.get(name, FIRST_WEIGHT) for name in names}
        return [json.dumps(weights), *shown(names, weights)]

    def opened(text: str) -> list[Any]:
        weights = json.loads(text or "{}")
        choices = [(_title(pipeline, name), name) for name in lora_files.names(folder)]
        there = [name for name in weights if any(name == known for _, known in choices)]
        return [gr.Dropdown(choices, value=there), *shown(there, weights)]

    drawer.expand(opened, held, [chosen, *sliders], **private)
    chosen.input(choose, [chosen, held], [held, *sliders], **private)
    for slider in sliders:
        slider.input(None, [chosen, *sliders], held, js=COLLECT, **private)
    return held


def send_loras(mode: str, held: gr.Textbox) -> None:
    """Send a drawer's weights to a live view in the browser, without a request to the server."""
    js = f"(value) => {{ window.artflow.set({json.dumps(mode)}, {{ loras: JSON.parse(value || '{{}}') }}); }}"
    held.change(None, held, None, js=js, api_visibility="private")


def _title(pipeline: Pipeline, name: str) -> str:
    """A LoRA's name, and for which models it is, where that is known."""
    try:
        of = lora_files.shapes(lora_files.find(name, pipeline.settings.models.lora_dir))
    except ArtflowError:
        return f"{name} (cannot be read)"
    family = lora_files.FAMILIES.get(lora_files.text_width(of) or 0)
    return f"{name} ({family})" if family else name


def _label(pipeline: Pipeline, name: str) -> str:
    """A LoRA's name, and the words that call for it, where its file says so."""
    try:
        words = lora_files.trigger(lora_files.find(name, pipeline.settings.models.lora_dir))
    except ArtflowError:
        words = ""
    return f"{name}: say “{words}”" if words else name
