"""The live tabs: webcam, canvas and live inpaint."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from artflow.engine.params import LiveParams
from artflow.modes import routing
from artflow.pipeline import Pipeline
from artflow.ui.components import CanvasView, InpaintView, WebcamView
from artflow.ui.controls import ParamControls, examples, prompt_box, send_to_view
from artflow.ui.send import SendTo, from_live

PLACES = {"inpaint": "live-inpaint"}  # tab of a mode, where it is not the mode's name


class LiveTab(NamedTuple):
    """What other tabs need of a live tab: its prompt, its controls by parameter name, and its send buttons."""

    prompt: gr.Textbox
    controls: dict[str, Any]
    send: SendTo


def live_tab(pipeline: Pipeline, mode: str) -> LiveTab:
    """Build the tab of a live mode: the view, and its controls below."""
    defaults, place = pipeline.parameters.live(mode), PLACES.get(mode, mode)
    own = routing.start(mode, pipeline.spec, pipeline.catalog)
    _view(pipeline, mode, (defaults.width or own.width, defaults.height or own.height))
    send = from_live(mode, pipeline.settings.server, place)
    controls = ParamControls(defaults)
    prompt = controls.built["prompt"] = prompt_box(pipeline, defaults.prompt, elem_id=f"artflow-{place}-prompt")
    examples(pipeline, prompt)
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
    send_to_view(mode, controls.built)
    return LiveTab(prompt, controls.built, send)


def _view(pipeline: Pipeline, mode: str, size: tuple[int, int]) -> None:
    if mode == "realtime":
        WebcamView(size=size)
    elif mode == "canvas":
        CanvasView(size=size)
    else:
        InpaintView(size=size, longest=pipeline.settings.server.max_size)


def _flow_controls(controls: ParamControls, mode: str, defaults: LiveParams) -> None:
    """Controls of the frame flow, which do not change the picture."""
    if mode == "realtime":
        controls.add("priority", info="under load: latency reduces steps and size, quality waits")
        controls.add("enable_similar_image_filter", info="frames that look like the last one are not rendered")
        controls.add("similar_image_filter_threshold", step=0.001, minimum=0.5)
    controls.add("max_fps", maximum=60, step=1)
    controls.add("jpeg_quality")
