"""Controls that tabs share, and how they reach a live view in the browser."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import gradio as gr
from pydantic import BaseModel

from artflow.errors import ArtflowError
from artflow.modes.params import input_schema


def prompt_box(value: str, *, label: str = "Prompt", lines: int = 2, max_length: int = 1000, **kwargs: Any) -> gr.Textbox:
    """A prompt field."""
    return gr.Textbox(value, label=label, lines=lines, max_lines=6, max_length=max_length, **kwargs)


class ParamControls:
    """Builds controls from a parameters model: title, limits, choices and default come from its fields."""

    def __init__(self, defaults: BaseModel) -> None:
        self._schema = input_schema(defaults)
        self.built: dict[str, gr.components.Component] = {}

    def add(self, name: str, **changes: Any) -> gr.components.Component:
        """The control of one parameter; ``changes`` go to the component (``label``, ``maximum`` ...)."""
        about = self._schema[name]
        common = {"label": about["title"], "value": about["default"], "info": about.get("description")} | changes
        if about["field"] == "checkbox":
            control: gr.components.Component = gr.Checkbox(**common)
        elif about["field"] == "select":
            control = gr.Dropdown(about["values"], **common)
        elif about["field"] == "range":
            limits = {"minimum": about["min"], "maximum": about["max"], "step": about["step"]}
            control = gr.Slider(**limits | common)
        else:
            control = gr.Textbox(**common)
        self.built[name] = control
        return control

    def add_seed(self, name: str = "seed", label: str = "Seed") -> gr.Number:
        """A seed, as a number field: a slider cannot be set to one value of four billion."""
        about = self._schema[name]
        control = gr.Number(about["default"], label=label, precision=0, minimum=-1, maximum=about["max"], info="-1: random")
        self.built[name] = control
        return control


def send_to_view(mode: str, controls: dict[str, gr.components.Component]) -> None:
    """Let each control set its parameter of a live view, in the browser, without asking the server."""
    for name, control in controls.items():
        js = f"(value) => {{ window.artflow.set({json.dumps(mode)}, {{{json.dumps(name)}: value}}); }}"
        # `change` and not `input`: an example that is clicked changes the field without anybody typing.
        control.change(None, control, None, js=js, api_visibility="private")


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show an `ArtflowError` of a plain function to the person."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ArtflowError as error:
            raise gr.Error(error.message, title="That did not work") from error

    return wrapper
