"""The list of LoRAs: those that are offered, those that are there, and downloads as they go."""

from __future__ import annotations

from typing import Any

import gradio as gr

from artflow.ui.components.live_view import read_parts


class LoraList(gr.HTML):
    """What the routes of ``api/lora.py`` say, shown by group, with buttons that call them.

    It asks while somebody sees it, and at once where ``window.artflow.lorasChanged()`` is called. As of all views the
    template holds no values: the script writes them as text.
    """

    def __init__(self, *, elem_id: str = "artflow-loras", **kwargs: Any) -> None:
        super().__init__(
            elem_id=elem_id,
            html_template=read_parts("lora/template.html"),
            css_template=read_parts("shared/view.css", "lora/style.css"),
            js_on_load='"use strict";\n'
            + read_parts("shared/i18n.js", "shared/hub.js", "shared/transport.js", "lora/script.js"),
            apply_default_css=False,
            **kwargs,
        )
