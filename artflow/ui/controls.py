"""Controls that tabs share, and how they reach a live view in the browser."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from artflow.errors import ArtflowError
from artflow.modes.schema import input_schema
from artflow.modes.upscale import upscalers
from artflow.pipeline import Pipeline


def prompt_box(pipeline: Pipeline, value: str, **kwargs: Any) -> gr.Textbox:
    """A prompt field, as long as the operator allows."""
    longest = pipeline.settings.server.max_prompt
    return gr.Textbox(value, label="Prompt", lines=2, max_lines=6, max_length=longest, **kwargs)


def examples(pipeline: Pipeline, prompt: gr.Textbox) -> None:
    """Example prompts of the app's model, and its vocabulary where it knows a limited one."""
    if pipeline.spec.examples:
        gr.Examples(pipeline.spec.examples, prompt, label="Examples")
    vocabulary = pipeline.vocabulary
    if vocabulary is not None:
        with gr.Accordion(f"What the embedded model knows ({len(vocabulary.things)} things)", open=False):
            lists = {"Things": vocabulary.things, "Where": vocabulary.backgrounds, "Styles": vocabulary.styles}
            gr.Markdown("\n\n".join(f"**{title}:** {', '.join(words)}" for title, words in lists.items()))


def model_choice(pipeline: Pipeline) -> gr.Dropdown:
    """A menu of the catalog's models; a model that is not here yet is downloaded on first use."""
    choices = [(spec.title, "" if spec is pipeline.spec else spec.id) for spec in pipeline.choices]
    return gr.Dropdown(choices, value="", label="Model")


def upscaler_choice(label: str) -> gr.Dropdown:
    """A menu of the upscalers found at start; a file of the Hub may be typed."""
    choices = [(title, name) for name, title in upscalers().items()]
    menu = gr.Dropdown(
        choices, value="span", label=label, info="or a file of the Hub: owner/name/file.safetensors",
        allow_custom_value=True,
    )  # fmt: skip
    return described(menu, {"type": "string"})


class ParamControls:
    """Builds controls from a parameters model: title, limits, choices and default come from its fields."""

    def __init__(self, defaults: BaseModel) -> None:
        self._schema = input_schema(defaults)["properties"]
        self.built: dict[str, Any] = {}

    def add(self, name: str, **changes: Any) -> Any:
        """The control of one parameter; ``changes`` go to the component (``label``, ``maximum`` ...).

        A slider with a narrower range than the parameter's still includes its default, which an operator may have set.
        """
        about = self._schema[name]
        common = {"label": about["title"], "value": about["default"], "info": about.get("description")} | changes
        if about["field"] == "checkbox":
            control: Any = gr.Checkbox(**common)
        elif about["field"] == "select":
            control = gr.Dropdown(about["values"], **common)
        elif about["field"] == "range":
            about_slider = {"minimum": about["min"], "maximum": about["max"], "step": about["step"]} | common
            about_slider["minimum"] = min(about_slider["minimum"], about["default"])
            about_slider["maximum"] = max(about_slider["maximum"], about["default"])
            limits = {"minimum": about_slider["minimum"], "maximum": about_slider["maximum"]}
            control = described(gr.Slider(**about_slider), {"type": about["type"]} | limits)
        else:
            control = gr.Textbox(**common)
        self.built[name] = control
        return control

    def add_seed(self, name: str = "seed", label: str = "Seed") -> gr.Number:
        """A number field for a seed, whose range is too wide for a slider."""
        about = self._schema[name]
        limits = {"minimum": -1, "maximum": about["max"]}
        control = gr.Number(about["default"], label=label, info="-1: random", precision=0, **limits)
        described(control, {"type": "integer"} | limits)
        self.built[name] = control
        return control


def job_settings(pipeline: Pipeline, controls: ParamControls, *more: str) -> None:
    """An accordion with the settings that all generating jobs share; ``more`` are further parameters of the tab."""
    with gr.Accordion("Advanced settings", open=False):
        controls.add("negative_prompt")
        if more:
            with gr.Row():
                for name in more:
                    controls.add(name)
        with gr.Row():
            controls.add("steps")
            controls.add("guidance_scale")
        with gr.Row():
            controls.add("sampler")
            controls.add_seed()
        with gr.Row():
            controls.built["model"] = model_choice(pipeline)
            controls.add("prediction_type")


def show_result(run: gr.Button, elem_id: str) -> None:
    """Scroll to the result when ``run`` is pressed, if it is below the window, as on a phone."""
    js = f"""() => {{
      const place = document.getElementById({json.dumps(elem_id)});
      if (place && place.getBoundingClientRect().top > innerHeight - 80)
        place.scrollIntoView({{ behavior: "smooth", block: "start" }});
    }}"""
    run.click(None, js=js, api_visibility="private")


C = TypeVar("C", bound=Component)


def described(component: C, schema: dict[str, Any]) -> C:
    """Set the JSON schema of a component in the API and MCP, where Gradio's own is missing, vague or wrong.

    MCP clients validate their arguments against it.
    """
    component.api_info = lambda: schema  # type: ignore[method-assign]
    return component


def send_to_view(mode: str, controls: dict[str, Any]) -> None:
    """Send each control's changes to a live view in the browser, without a request to the server."""
    for name, control in controls.items():
        # A number field is empty for a moment while another number is typed.
        told = f"window.artflow.set({json.dumps(mode)}, {{ {json.dumps(name)}: value }})"
        js = f"(value) => {{ if (value !== null) {told}; }}"
        # `change` and not `input`, because a clicked example changes the field without input.
        control.change(None, control, None, js=js, api_visibility="private")


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: turn an `ArtflowError` into an error message on the page."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ArtflowError as error:
            raise gr.Error(error.message, title="That did not work", print_exception=False) from error

    return wrapper
