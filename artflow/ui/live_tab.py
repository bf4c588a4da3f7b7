"""The live tabs: webcam, canvas and live inpaint."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import gradio as gr

from artflow.engine.params import LiveParams
from artflow.models.info import SIZES
from artflow.modes import routing
from artflow.pipeline import Pipeline
from artflow.ui.components import CanvasView, InpaintView, WebcamView
from artflow.ui.components.live_view import LiveView
from artflow.ui.controls import ParamControls, examples, prompt_box, send_to_view
from artflow.ui.lora_drawer import lora_drawer, send_loras
from artflow.ui.send import SendTo, from_live
from artflow.ui.style_panel import StylePanel

PLACES = {"inpaint": "live-inpaint"}  # tab of a mode, where it is not the mode's name


class LiveTab(NamedTuple):
    """What other tabs need of a live tab: its prompt, its controls by parameter name, and its send buttons; ``styles``
    where the prompt names styles of a painter."""

    prompt: gr.Textbox
    controls: dict[str, Any]
    send: SendTo
    styles: StylePanel | None


def live_tab(pipeline: Pipeline, mode: str) -> LiveTab:
    """Build the tab of a live mode: the view, and its controls below."""
    defaults, place = pipeline.parameters.live(mode), PLACES.get(mode, mode)
    own = routing.start(mode, pipeline.spec, pipeline.catalog)
    view = _view(pipeline, mode, defaults, (defaults.width or own.width, defaults.height or own.height))
    send = from_live(mode, pipeline.settings.server, place)
    controls = ParamControls(defaults)
    prompt = controls.built["prompt"] = prompt_box(pipeline, defaults.prompt, elem_id=f"artflow-{place}-prompt")
    examples(pipeline, prompt)
    styles = StylePanel(pipeline, mode, view) if _has_strip(pipeline, mode) else None
    if mode != "inpaint":
        loras = controls.built["loras"] = lora_drawer(pipeline, place)
        send_loras(mode, loras)
    with gr.Row():
        controls.add("strength")
        controls.add("steps", info="more: finer and slower")
        controls.add_seed()
    if mode == "inpaint":
        with gr.Row():
            controls.add("feather", maximum=64)
            controls.add("mask_edge")
        with gr.Row():
            controls.add("only_masked")
            controls.add("padding", maximum=256)
    with gr.Accordion("Advanced settings", open=False):
        longest = {"max_length": pipeline.settings.server.max_prompt}
        model, size = _model_and_size(pipeline)
        controls.add("negative_prompt", **longest)
        with gr.Row():
            controls.add("prompt_b", **longest)
            controls.add("blend")
            if mode != "inpaint":  # a still picture has no frames to crossfade over
                controls.add("transition", maximum=10)
        with gr.Row():
            controls.add("cfg_type")
            controls.add("guidance_scale")
            controls.add("delta")
            controls.add("prediction_type")
        with gr.Row():
            _flow_controls(controls, mode, defaults)
    more = {"model": model} if styles is None else {"model": model, "style_picture": styles.style}
    send_to_view(mode, {name: one for name, one in controls.built.items() if name != "loras"} | more)
    told = f"window.artflow.set({json.dumps(mode)}, {{ width: value, height: value }})"
    size.change(None, size, None, js=f"(value) => {{ {told}; }}", api_visibility="private")
    _follow_view(view, mode, controls)
    return LiveTab(prompt, controls.built, send, styles)


def _has_strip(pipeline: Pipeline, mode: str) -> bool:
    """Whether the prompt chooses styles of a painter here."""
    return pipeline.styles.painter is not None and mode in routing.AUTOMATIC


def _view(pipeline: Pipeline, mode: str, defaults: LiveParams, size: tuple[int, int]) -> LiveView:
    about: dict[str, Any] = {
        "size": size,
        "titles": {spec.id: spec.title for spec in pipeline.live_choices},
        "prompt": defaults.prompt,
        "strip": _has_strip(pipeline, mode),
    }
    if mode == "realtime":
        return WebcamView(**about)
    if mode == "canvas":
        return CanvasView(**about)
    return InpaintView(longest=pipeline.settings.server.max_size, **about)


def _model_and_size(pipeline: Pipeline) -> tuple[gr.Dropdown, gr.Dropdown]:
    """Menus of who makes the pictures, and how large."""
    automatic = "the prompt chooses" if pipeline.styles.painter is not None else pipeline.spec.title
    models = [(f"Automatic: {automatic}", ""), *((spec.title, spec.id) for spec in pipeline.live_choices)]
    sizes = [("Automatic: the model's own", 0), *((f"{side} × {side}", side) for side in SIZES)]
    with gr.Row():
        return (
            gr.Dropdown(models, value="", label="Model", info="one that is not here yet is downloaded"),
            gr.Dropdown(sizes, value=0, label="Size", info="the one in use stands under the pictures"),
        )


def _follow_view(view: LiveView, mode: str, controls: ParamControls) -> None:
    """Show in the controls what the server and the strip of styles have set."""
    for event, names in ((view.moved, ("strength", "steps")), (view.styled, ("prompt",))):
        js = f"() => window.artflow.values({json.dumps(mode)}, {json.dumps(names)})"
        event(None, None, [controls.built[name] for name in names], js=js, api_visibility="private")


def _flow_controls(controls: ParamControls, mode: str, defaults: LiveParams) -> None:
    """Controls of the frame flow, which do not change the picture."""
    if mode == "realtime":
        controls.add("priority", info="under load: latency reduces steps and size, quality waits")
        controls.add("enable_similar_image_filter", info="frames that look like the last one are not rendered")
        controls.add("similar_image_filter_threshold", step=0.001, minimum=0.5)
    controls.add("max_fps", maximum=60, step=1)
    controls.add("jpeg_quality")
