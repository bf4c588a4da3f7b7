"""The style of any picture in a live tab: painted in at once, or learned in minutes and kept under a name."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr

from artflow.modes import learned_styles
from artflow.pipeline import Pipeline
from artflow.ui.components.live_view import LiveView
from artflow.ui.controls import said
from artflow.ui.files import picture_input, read_bytes, reducer
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs, Outcome

LOOKED_AT = 512  # longest side of the copy that a style is read or learned from
TOLD = "() => { window.artflow.stylesChanged(); }"


class StylePanel:
    """A field for a picture, which the view's strip fills, too, and the styles that people have learned.

    ``style`` holds what was read from the picture, for the live parameter ``style_picture``.
    """

    def __init__(self, pipeline: Pipeline, mode: str, view: LiveView) -> None:
        self._pipeline, self._mode = pipeline, mode
        self._reduced = reducer(pipeline.settings.server, LOOKED_AT)
        self._jobs = Jobs()
        self.leave = self._jobs.stop
        self._build(view)

    def _build(self, view: LiveView) -> None:
        limits, at = self._pipeline.settings.server, f"artflow-{self._mode}-style"
        self._private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        with gr.Accordion("Style of a picture, and learned styles", open=False, elem_id=at) as panel, gr.Row():
            picture = picture_input(limits, "Paint in the style of this picture", height=240, elem_id=f"{at}-picture")
            with gr.Column(min_width=240):
                name = gr.Textbox(
                    label="Name", max_length=learned_styles.LONGEST_NAME, placeholder="what the prompt will call it",
                    info="Learning takes minutes and gives a style that is truer to the picture, and stays.",
                )  # fmt: skip
                with gr.Row():
                    run = gr.Button("Learn this style", variant="primary", elem_id=f"{at}-learn")
                    stop = gr.Button("Cancel", elem_id=f"{at}-cancel")
                status = gr.Markdown(elem_id=f"{at}-status")
            with gr.Column(min_width=240):
                own = gr.Dropdown([], label="Learned styles", elem_id=f"{at}-own")
                with gr.Row():
                    save = gr.Button("Save as a file")
                    delete = gr.Button("Delete", elem_id=f"{at}-delete")
                saved = gr.File(label="The file of the style", visible=False, elem_id=f"{at}-file")
                back = gr.UploadButton("Put a style back", file_types=[".safetensors"], elem_id=f"{at}-back")
        self.style = gr.Textbox(visible="hidden", label="Style")
        picture.change(
            self.read_style, picture, self.style, show_progress="hidden", concurrency_limit=2,
            **self._name("read_style"),
        )  # fmt: skip
        shown = f"(file) => {{ window.artflow.showPicked({json.dumps(self._mode)}, file?.url); }}"
        picture.change(None, picture, None, js=shown, api_visibility="private")
        view.picked(None, None, picture, js="() => [window.artflow.picked()]", api_visibility="private")
        learned = run.click(
            as_sent(self.learn_style), [picture, name], status, show_progress="hidden", concurrency_limit=None,
            preprocess=False, **self._name("learn_style"),
        )  # fmt: skip
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")
        panel.expand(_choices, None, own, **self._private)
        save.click(_copy, own, saved, **self._private)
        deleted = delete.click(said(_delete), own, status, **self._private)
        returned = back.upload(said(self._put_back), back, status, **self._private)
        for change in (learned, deleted, returned):
            change.success(_choices, None, own, **self._private).then(None, None, None, js=TOLD, **self._private)

    def _name(self, name: str) -> dict[str, Any]:
        """An endpoint has its name from one tab alone."""
        return {"api_name": name} if self._mode == "realtime" else {"api_visibility": "private"}

    def read_style(self, picture: str | None) -> str:
        """Read the style of a picture, for the live parameter ``style_picture``: Painter then paints in it.

        Args:
            picture: a picture file of at least 32 pixels a side; over MCP its URL, such as that of a result
        """

        def read() -> str:
            return self._pipeline.styles.read(self._reduced(picture).picture) if picture else ""

        return str(said(read)())

    def learn_style(self, picture: str | None, name: str, request: gr.Request) -> Iterator[str]:
        """Learn the style of a picture, which takes minutes; prompts name it from then on.

        Args:
            picture: a picture file of at least 64 pixels a side; over MCP its URL, such as that of a result
            name: what prompts will call it: 1 to 40 characters, without commas, colons and brackets

        Returns:
            A sentence on how far it is, and at last what it is called.
        """

        def work(context: Any) -> str:
            return self._pipeline.styles.learn(self._reduced(picture).picture, name or "", context)

        for event in self._jobs.follow(request, work):
            if not isinstance(event, Outcome):
                yield event[1]
            else:
                yield "Cancelled." if event.value is None else f"Learned. A prompt with “{name.strip()}” paints in it."

    def _put_back(self, path: str) -> str:
        style = learned_styles.put_back(read_bytes(path), self._pipeline.styles.size)
        return f"“{learned_styles.own()[style]}” is there again."


def _choices() -> Any:
    choices = [(name, style) for style, name in learned_styles.own().items()]
    return gr.Dropdown(choices, value=choices[-1][1] if choices else None)


def _copy(style: str | None) -> Iterator[Any]:
    """A copy of the file, which Gradio copies once more while it is yielded."""
    path = said(learned_styles.path_of)(style or "")
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
        yield gr.File(str(shutil.copy(path, folder)), visible=True)


def _delete(style: str | None) -> str:
    learned_styles.path_of(style or "").unlink(missing_ok=True)
    return "Deleted."
