"""The base of the live views: assembles their HTML, CSS and JavaScript files into one component."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr

HERE = Path(__file__).parent

PART = re.compile(r"^ *<!-- (\S+\.html) -->\n", re.MULTILINE)
SHARED_STYLE = ("shared/view.css", "shared/style_strip.css")
SHARED_SCRIPT = (
    "shared/i18n.js",
    "shared/hub.js",
    "shared/transport.js",
    "shared/recipe.js",
    "shared/style_table.js",
    "shared/answered_by.js",
    "shared/style_strip.js",
    "shared/view.js",
)


def read_parts(*names: str) -> str:
    """The named files of this folder, one after the other. Scripts share one scope, in this order."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def read_template(name: str) -> str:
    """A template with its includes, written ``<!-- shared/foot.html -->``, replaced by those files."""
    return PART.sub(lambda part: read_template(part[1]), read_parts(name))


class LiveView(gr.HTML):
    """A picture that follows its input over a WebSocket. Frames never pass through Gradio.

    Templates of ``gr.HTML`` are evaluated as code, so the template files contain no values: scripts write everything
    that changes, as text. Events, to be listened to with ``js="..."``: ``ready``, once the view is on the page, to hand
    over the first values of the controls; ``moved``, when the server has set strength or steps, and ``styled``, when
    the strip has written a prompt (both: ``artflow.values(mode, ...)``); ``picked``, when a file was dropped on the
    strip or taken away (``artflow.picked()``).

    Props: ``titles`` of models by id, ``prompt`` that the page comes with, and whether there is a ``strip`` of styles.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int],
        elem_id: str,
        template: str,
        style: tuple[str, ...],
        script: tuple[str, ...],
        **kwargs: Any,
    ) -> None:
        self.size = list(size)
        super().__init__(
            elem_id=elem_id,
            html_template=read_template(template),
            css_template=read_parts(*SHARED_STYLE, *style),
            js_on_load='"use strict";\n' + read_parts(*SHARED_SCRIPT, *script),
            apply_default_css=False,
            width=size[0],
            height=size[1],
            **kwargs,
        )

    def api_info(self) -> dict[str, Any]:
        """The component has no value; its frames go over the socket."""
        return {"type": "string"}
