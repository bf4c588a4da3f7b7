"""The interrogate tab: from a picture to a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from artflow.errors import ArtflowError
from artflow.interrogator import AUTO, Answer
from artflow.job_context import JobContext
from artflow.modes.interrogate import MODES
from artflow.pipeline import Pipeline
from artflow.ui.controls import said, show_result
from artflow.ui.files import Reduced, picture_input, reducer
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs, Outcome

GROUPS = ("subject", "background", "medium", "artist", "movement", "style", "light", "colour", "composition")
PROMPT_TAKERS = {"realtime": "Webcam", "canvas": "Canvas", "text": "Text"}
LOOKED_AT = 1024  # longest side of the copy that is looked at: models see a part of that
COPY = "It looked at a copy of {copy} pixels of this picture of {size}."
Scores = dict[str, list[tuple[str, float]]]


class InterrogateTab:
    """The tab and its action, ``interrogate``.

    ``picture`` receives pictures of other tabs, ``prompt`` holds the prompt that was found.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs = Jobs(pipeline.settings.server)
        self._reduced = reducer(pipeline.settings.server, LOOKED_AT)
        self.leave = self._jobs.stop
        self._build()

    def _build(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                limits = self._pipeline.settings.server
                self.picture = picture_input(limits, elem_id="artflow-interrogate-picture", height=280)
                mode = gr.Radio([(words, name) for name, words in MODES.items()], value="best", label="Mode")
                choices = [(words, name) for name, words in self._pipeline.interrogator.choices.items()]
                model = gr.Dropdown(choices, value=AUTO, label="Model", info=self._pipeline.interrogator.about)
                with gr.Row():
                    run = gr.Button("Interrogate", variant="primary", elem_id="artflow-interrogate-run")
                    stop = gr.Button("Cancel", elem_id="artflow-interrogate-cancel")
                status = gr.Markdown(elem_id="artflow-interrogate-status")
            with gr.Column(scale=3, min_width=300):
                self.prompt = gr.Textbox(
                    label="Prompt", lines=3, max_lines=8, buttons=["copy"], elem_id="artflow-interrogate-prompt",
                    max_length=self._pipeline.settings.server.max_prompt,
                )  # fmt: skip
                with gr.Row(elem_classes="artflow-send"):
                    self._buttons = {
                        tab: gr.Button(
                            f"Use in {title}", size="sm", min_width=80, elem_id=f"artflow-interrogate-to-{tab}"
                        )
                        for tab, title in PROMPT_TAKERS.items()
                    }
                with gr.Row(elem_id="artflow-interrogate-scores"):
                    labels = [
                        gr.Label(label=group.capitalize(), show_heading=False, visible=False, min_width=240)
                        for group in GROUPS
                    ]
        scores = gr.JSON(label="Scores", visible=False)
        self._found_in = gr.Textbox("best", label="Mode", visible=False)  # the mode that the prompt was found in
        found = run.click(
            as_sent(self.interrogate), [self.picture, mode, model], [self.prompt, status, scores, self._found_in],
            api_name="interrogate", concurrency_limit=None, show_progress="hidden", preprocess=False,
        )  # fmt: skip
        found.success(_labels, scores, labels, show_progress="hidden", api_visibility="private")
        show_result(run, "artflow-interrogate-status")
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")

    def interrogate(
        self, picture: str | None, mode: str, model: str, request: gr.Request
    ) -> Iterator[tuple[Any, str, Any, Any]]:
        """Find a prompt that describes a picture, and the terms that fit it best.

        Args:
            picture: a picture file; over MCP its URL, such as that of a result
            mode: best, fast, classic, or negative for the terms that it is least like
            model: auto, embedded (needs no download), or the CLIP model of the list

        Returns:
            The prompt; the model that was used; the best terms of each group (subject, style and so on) with their
            scores, which add up to 1 over all terms of the group; and the mode.
        """

        seen: Reduced | None = None

        def work(context: JobContext) -> Answer | None:
            nonlocal seen
            seen = self._reduced(picture)
            return self._pipeline.interrogate(seen.picture, mode, model, context)

        for event in self._jobs.follow(request, work):
            if not isinstance(event, Outcome):
                yield gr.skip(), event[1], gr.skip(), gr.skip()
            elif event.value is None:
                yield gr.skip(), "Cancelled.", gr.skip(), gr.skip()
            else:
                found = event.value.found
                copy = seen.told(COPY) if seen is not None else ""
                yield found.prompt, f"{_words(event.value)} {copy}".strip(), found.groups, mode

    def connect(self, takers: Mapping[str, Mapping[str, Component]], tabs: gr.Tabs) -> None:
        """Let the buttons fill the prompt of other tabs, or the negative prompt if the mode was negative.

        Args:
            takers: controls by parameter name, of each tab in `PROMPT_TAKERS`
            tabs: of the page
        """

        def sending(tab: str) -> Any:
            @said
            def send(prompt: str, found_in: str) -> tuple[Any, Any, Any]:
                if not (prompt or "").strip():
                    raise ArtflowError("no_prompt", "There is no prompt to use yet; press Interrogate first.")
                negative = found_in == "negative"
                return gr.skip() if negative else prompt, prompt if negative else gr.skip(), gr.Tabs(selected=tab)

            return send

        for tab, button in self._buttons.items():
            controls = takers[tab]
            button.click(
                sending(tab), [self.prompt, self._found_in], [controls["prompt"], controls["negative_prompt"], tabs],
                show_progress="hidden", api_visibility="private",
            )  # fmt: skip


def _words(answer: Answer) -> str:
    similarity = answer.found.similarity
    share = "" if similarity is None else f"Similarity of picture and prompt: {similarity:.2f}. "
    return f"**Model: {answer.model}.** {share}{answer.note}"


def _labels(scores: Scores | None) -> list[Any]:
    """The scores of each group in its label; labels of groups without scores are hidden."""
    found = scores or {}
    return [gr.Label(dict(found.get(group, ())) or None, visible=group in found) for group in GROUPS]
