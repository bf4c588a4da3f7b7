"""The Python side of the views: no browser needed."""

from __future__ import annotations

import gradio as gr
import pytest

from artflow.ui.components import CanvasView, InpaintView, WebcamView
from artflow.ui.components.live_view import HERE, read_parts
from artflow.ui.components.lora import LoraList

VIEWS = [WebcamView, CanvasView, InpaintView]


@pytest.mark.parametrize("view", VIEWS)
def test_size_reaches_the_script_and_the_config_is_plain(view) -> None:
    with gr.Blocks() as demo:
        component = view(size=(640, 384), elem_id="picture")
    config = next(c for c in demo.get_config_file()["components"] if c["id"] == component._id)
    assert config["props"]["elem_id"] == "picture"
    assert (component.props["width"], component.props["height"]) == (640, 384)
    assert component.api_info() == {"type": "string"}


@pytest.mark.parametrize("view", [*VIEWS, LoraList])
def test_templates_hold_no_code(view) -> None:
    """Gradio runs `${...}` and `{{...}}` in templates as code, and backslashes are its escapes."""
    with gr.Blocks():
        component = view()
    for template in (component.html_template, component.css_template):
        assert not any(mark in template for mark in ("${", "{{", "`", "\\"))


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in HERE.rglob("*.*"):
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text(encoding="utf-8")
            assert "http://" not in text and "https://" not in text and "@import" not in text, path.name


def test_every_script_file_is_used() -> None:
    with gr.Blocks():
        loaded = "".join(view().js_on_load for view in [*VIEWS, LoraList])
    for path in HERE.rglob("*.js"):
        assert read_parts(str(path.relative_to(HERE))) in loaded, path.name


@pytest.mark.parametrize("view", VIEWS)
def test_templates_are_whole(view) -> None:
    with gr.Blocks():
        template = view().html_template
    assert "<!--" not in template
    for part in (".af-status", ".af-snapshot", ".af-picture", ".af-error"):
        assert f'class="{part[1:]}' in template or f" {part[1:]}" in template


def test_parts_are_joined_in_the_given_order() -> None:
    joined = read_parts("shared/i18n.js", "shared/hub.js")
    assert joined.index("const MESSAGES") < joined.index("const hub")
