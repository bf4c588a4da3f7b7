"""The filters tab: a stack of filters with a live preview, applied at full size on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from artflow.engine.job_request import GeneratedImage, JobProgress
from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, flattened
from artflow.job_context import JobContext
from artflow.metadata import carried_recipe
from artflow.modes.filters import (
    FILTERS,
    Choice,
    Filter,
    Layer,
    Sample,
    Slider,
    Stack,
    apply,
    as_json,
    load_presets,
    read_stack,
)
from artflow.modes.filters.history import StackHistory
from artflow.modes.filters.live import LONGEST
from artflow.modes.filters.painting import as_sample
from artflow.pipeline import Pipeline
from artflow.ui.controls import described, said
from artflow.ui.files import (
    PictureUpload,
    picture_input,
    read_bytes,
    read_picture,
    read_with_alpha,
    recipe_size,
    reducer,
    result_place,
    saved_png,
)
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs
from artflow.ui.previews import Check, Previews
from artflow.ui.send import SendTo

MODE = "filter"  # in recipes of pictures that only went through filters
PREVIEW = 768  # longest side of the picture that follows the sliders
THUMBNAIL = 160
COPY = "The preview is a copy of {copy} pixels; what you apply at full size works on all {size}."
SAMPLE = 512  # longest side of a picture whose style is taken
ON_LIVE = """(on, stack) => {
  const tooLong = JSON.stringify(stack ?? []).length > %d;
  for (const mode of ["realtime", "canvas"]) {
    window.artflow.set(mode, { filters: on && !tooLong && stack?.length ? stack : null });
  }
  return on && tooLong ? "This stack is too long for live pictures, which are shown without it." : "";
}"""


class FilterParams(BaseModel):
    """The tab's parameters that are filled by name: none, since its only setting is the stack."""


class FiltersTab:
    """The tab; ``filter`` is also the API endpoint and MCP tool of that name.

    ``picture`` receives pictures of other tabs, ``send`` the buttons that send results; ``shown`` the stack as JSON.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._limits = pipeline.settings.server
        self._jobs = Jobs(pipeline.settings.server)
        self._reduced = reducer(self._limits, PREVIEW, keep_alpha=True)
        self._previews, self._presets = Previews(), Previews()
        self.leave = self._jobs.stop
        self._build()

    def take_over(self, event: Callable[..., Any], about: Component) -> None:
        """On ``event``, take the stack out of the metadata in ``about`` if the picture was made in this tab."""

        def stack_of(history: StackHistory, about: dict[str, Any]) -> StackHistory:
            return history.to(read_stack(about["values"].get("filters"))) if about["mode"] == MODE else history

        self._structural(event, stack_of, [about])

    # -- the page -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._history = gr.State(StackHistory())
        self._revision = gr.State(0)  # increases when the list of filters must be rendered again
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.picture = picture_input(self._limits, elem_id="artflow-filter-picture", height=280)
                with gr.Row():
                    undo = gr.Button("Undo", size="sm", min_width=80, elem_id="artflow-filter-undo")
                    redo = gr.Button("Redo", size="sm", min_width=80, elem_id="artflow-filter-redo")
                    clear = gr.Button("Remove all", size="sm", min_width=80)
                add = gr.Dropdown(
                    [(f"{f.group}: {f.title}", f.name) for f in FILTERS.values()], value=None,
                    label="Add a filter", elem_id="artflow-filter-add",
                )  # fmt: skip
                drawn = gr.render([self._history], [self._revision.change], show_progress="hidden")
                drawn(self._layers)
            with gr.Column(scale=3, min_width=300):
                self._preview = gr.Image(
                    label="Preview", format="jpeg", interactive=False, elem_id="artflow-filter-preview", height=520,
                    buttons=["fullscreen"],
                )  # fmt: skip
                presets = gr.Gallery(
                    label="Presets", columns=6, height=260, format="jpeg", allow_preview=False,
                    buttons=[], elem_id="artflow-filter-presets",
                )  # fmt: skip
                with gr.Row():
                    make = gr.Button("Apply at full size", variant="primary", elem_id="artflow-filter-make")
                    stop = gr.Button("Cancel", elem_id="artflow-filter-cancel")
                status = self._status = gr.Markdown(elem_id="artflow-filter-status")
                result = result_place("artflow-filter-result")
                self.send = SendTo("filters", result)
                live = gr.Checkbox(label="Apply to Webcam and Canvas, too", elem_id="artflow-filter-live")
                live_words = gr.Markdown(elem_id="artflow-filter-live-words")
                with gr.Accordion("Stack as JSON", open=False):
                    shown = gr.JSON([], label="Stack", elem_id="artflow-filter-json")
                    self.shown = described(shown, {"type": "array", "items": {"type": "object"}})
        self._connect(add, undo, redo, clear, presets)
        make.click(
            as_sent(self.filter), [self.picture, self.shown], [result, status], api_name="filter",
            concurrency_limit=None, show_progress="hidden", preprocess=False,
        )  # fmt: skip
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")
        gr.on(
            [live.change, self.shown.change], None, [live, self.shown], live_words, js=ON_LIVE % LONGEST,
            api_visibility="private",
        )  # fmt: skip

    def _connect(self, add: Any, undo: Any, redo: Any, clear: Any, presets: Any) -> None:
        steps: list[tuple[Any, Any, list[Any]]] = [
            (undo.click, StackHistory.undo, []),
            (redo.click, StackHistory.redo, []),
            (clear.click, lambda history: history.to(()), []),
        ]
        for event, function, more in steps:
            self._structural(event, function, more)
        # `blur` fires once a choice; `input` fires twice for the mouse and `select` not at all for the keyboard.
        added = self._structural(add.blur, lambda history, name: history.add(name) if name else history, [add])
        added.then(lambda: None, None, add, queue=False, show_progress="hidden", api_visibility="private")
        presets.select(
            self._preset, [self._history, self._revision, self.picture], self._outputs, show_progress="hidden",
            concurrency_limit=None, api_visibility="private",
        )  # fmt: skip
        self.picture.change(
            self._opened,
            [self._history, self.picture],
            [self._preview, self._status],
            show_progress="hidden",
            api_visibility="private",
        ).then(self._thumbnails, self.picture, presets, show_progress="hidden", api_visibility="private")

    @property
    def _outputs(self) -> list[Any]:
        return [self._history, self._revision, self._preview, self.shown]

    def _structural(self, event: Any, function: Any, more: list[Any]) -> Any:
        """On ``event``, apply ``function`` (history, values -> history) and render the list of filters again.

        The event is queued, because with ``queue=False`` the page does not notice the new revision.
        """

        @said
        def act(
            request: gr.Request, history: StackHistory, revision: int, path: str | None, *values: Any
        ) -> tuple[Any, ...]:
            new = function(history, *values)
            if new is history:
                return (gr.skip(),) * 4
            return new, revision + 1, self._seen(request, new, path), as_json(new.stack)

        return event(
            act, [self._history, self._revision, self.picture, *more], self._outputs, show_progress="hidden",
            concurrency_limit=None, api_visibility="private",
        )  # fmt: skip

    def _layers(self, history: StackHistory) -> None:
        """The list of filters, each with its switch, arrows and parameters."""
        if not history.stack:
            gr.Markdown("No filters yet: add one above, or click a preset.")
        for index, layer in enumerate(history.stack):
            with gr.Group(elem_id=f"artflow-filter-layer-{index}"):
                self._head(index, layer)
                for name, control in self._controls(FILTERS[layer.filter], layer).items():
                    self._follow(index, name, control)

    def _head(self, index: int, layer: Layer) -> None:
        with gr.Row(equal_height=True):
            title = f"{index + 1}. {FILTERS[layer.filter].title}"
            on = gr.Checkbox(layer.on, label=title, container=False, min_width=160, interactive=True)
            up, down, remove = (gr.Button(word, size="sm", min_width=44, scale=0) for word in ("↑", "↓", "✕"))
        self._structural(on.input, lambda history, value: history.switch(index, value), [on])
        self._structural(up.click, lambda history: history.move(index, -1), [])
        self._structural(down.click, lambda history: history.move(index, 1), [])
        self._structural(remove.click, lambda history: history.remove(index), [])

    def _controls(self, entry: Filter, layer: Layer) -> dict[str, Any]:
        built: dict[str, Any] = {}
        usable: dict[str, Any] = {"interactive": True}  # Gradio makes components of a render read-only by default
        for name, about in entry.parameters.items():
            value = layer.parameters[name]
            if isinstance(about, Slider):
                built[name] = gr.Slider(about.low, about.high, value, step=about.step, label=about.title, **usable)
            elif isinstance(about, Choice):
                built[name] = gr.Dropdown(list(about.values), value=value, label=about.title, **usable)
            elif isinstance(about, Sample):
                title = about.title + (" (one is set)" if value else "")
                built[name] = picture_input(self._limits, title, height=160, **usable)
            else:
                built[name] = gr.Checkbox(value, label=about.title, **usable)
        return built

    def _follow(self, index: int, name: str, control: Any) -> None:
        """The preview follows this parameter."""
        event = control.change if isinstance(control, PictureUpload) else control.input

        @said
        def changed(request: gr.Request, *values: Any) -> tuple[Any, ...]:
            return self._changed(index, name, request, *values)

        event(
            changed, [self._history, self.picture, control],
            [self._history, self._preview, self.shown], trigger_mode="always_last", queue=False,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    # -- what happens --------------------------------------------------------------------------------------------------

    def filter(
        self, picture: str | None, stack: list[dict[str, Any]] | None, request: gr.Request
    ) -> Iterator[tuple[Any, str]]:
        """Apply a stack of filters to a picture, at full size.

        Args:
            picture: a picture file; over MCP its URL, such as that of a result
            stack: a list of {"filter": name, "parameters": {...}, "on": true}, applied in that order
        """
        for _, words, made in self._jobs.run(request, partial(self._made, picture, stack)):
            if not made:
                yield gr.skip(), words
                continue
            with saved_png(made[0].picture, made[0].recipe, "artflow-filtered.png") as path:
                yield path, words

    def _made(self, path: str | None, stack: Any, context: JobContext) -> list[GeneratedImage]:
        layers = read_stack(stack)

        def after_layer(done: int) -> None:
            context.on_progress(JobProgress(0, 1, done, len(layers), doing="Filter"))
            if context.cancelled.is_set():
                raise Cancelled

        try:
            made = apply(layers, read_with_alpha(read_bytes(path), self._limits), after_layer=after_layer)
        except Cancelled:
            return []
        carried = carried_recipe(read_bytes(path))
        size = recipe_size(made) if {"width", "height"} <= carried.keys() else {}
        recipe = {"mode": MODE} | carried | size | {"filters": as_json(layers)}
        return [GeneratedImage(made, recipe)]

    def _changed(
        self, index: int, name: str, request: gr.Request, history: StackHistory, path: str | None, value: Any
    ) -> tuple[Any, ...]:
        if isinstance(FILTERS[history.stack[index].filter].parameters[name], Sample):
            value = as_sample(read_picture(value, self._limits, SAMPLE)) if value else ""
        elif value is None:  # a number field while another number is typed
            return gr.skip(), gr.skip(), gr.skip()
        new = history.change(index, {name: value})
        return new, self._seen(request, new, path), as_json(new.stack)

    @said
    def _preset(
        self, request: gr.Request, history: StackHistory, revision: int, path: str | None, chosen: gr.SelectData
    ) -> tuple[Any, ...]:
        preset = list(load_presets().values())[chosen.index]
        new = history.to(preset.stack)
        return new, revision + 1, self._seen(request, new, path), as_json(new.stack)

    @said
    def _opened(self, request: gr.Request, history: StackHistory, path: str | None) -> tuple[Any, str]:
        if path is None:
            return None, ""
        return self._seen(request, history, path), self._reduced(path).told(COPY)

    @said
    def _thumbnails(self, request: gr.Request, path: str | None) -> Any:
        """A thumbnail of every preset; a preset that fails on this picture shows the picture itself."""
        if path is None:
            return []

        def work(check: Check) -> list[tuple[Picture, str]]:
            picture = self._reduced(path).picture
            image = Image.fromarray(picture)
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            small = np.asarray(image)
            scale = max(small.shape) / max(picture.shape)
            shown: list[tuple[Picture, str]] = []
            for preset in load_presets().values():
                check(len(shown))
                shown.append((_or_as_it_is(preset.stack, small, scale), preset.title))
            return shown

        return _or_skip(self._presets.run(request, work))

    def _seen(self, request: gr.Request, history: StackHistory, path: str | None) -> Any:
        """The preview of the stack, if there is a picture, and nothing newer is asked for meanwhile."""
        if path is None:
            return gr.skip()

        def work(check: Check) -> Picture:
            reduced = self._reduced(path)
            seen = apply(
                history.stack, reduced.picture, scale=reduced.share, draft=True, longest=PREVIEW, after_layer=check
            )
            return flattened(seen)

        return _or_skip(self._previews.run(request, work))


def _or_skip(made: Any) -> Any:
    return gr.skip() if made is None else made


def _or_as_it_is(stack: Stack, picture: NDArray[np.uint8], scale: float) -> Picture:
    try:
        return flattened(apply(stack, picture, scale=scale, draft=True))
    except ArtflowError:
        return flattened(picture)
