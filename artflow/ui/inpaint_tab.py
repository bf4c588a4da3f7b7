"""The inpaint tab: replaces the part of a picture under a painted mask, or removes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np

from artflow.engine.job_request import GeneratedImage
from artflow.images import Picture, Size, flattened, resized, to_srgb
from artflow.job_context import JobContext
from artflow.modes.inpaint import InpaintParams
from artflow.modes.masks import Mask, tint
from artflow.pipeline import Pipeline
from artflow.ui.controls import ParamControls, examples, job_settings, prompt_box, said, show_result
from artflow.ui.files import (
    PictureUpload,
    picture_input,
    read_bytes,
    read_photo,
    reducer,
    result_place,
    shown_by_browsers,
)
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs, saved
from artflow.ui.mask_editor import SHOWN, MaskEditor, painted_mask, shown_in_editor
from artflow.ui.send import SendTo

INPUTS = (
    "prompt", "negative_prompt", "strength", "fill", "feather", "only_masked", "padding", "steps", "guidance_scale",
    "sampler", "seed", "model", "mask_edge",
    "prediction_type",
)  # fmt: skip

Make = Callable[..., list[GeneratedImage]]  # `Pipeline.inpaint` or `Pipeline.remove`
FAINT = 25  # alpha of a subject's edge, from which on it is selected
TINTED = 2048  # longest side of the copy that shows the mask


class InpaintTab:
    """The tab and its actions, ``inpaint`` and ``remove``.

    ``picture`` receives pictures of other tabs, ``send`` has the buttons that send results; ``controls`` are by
    parameter name.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs = Jobs()
        self._reduced = reducer(pipeline.settings.server, SHOWN)
        self._build()

    def _build(self) -> None:
        controls = ParamControls(self._pipeline.parameters.job(InpaintParams))
        with gr.Row():
            with gr.Column():
                limits = self._pipeline.settings.server
                self.picture = picture_input(limits, elem_id="artflow-inpaint-picture", height=160)
                self._editor = MaskEditor("Mask: paint over what to change", "artflow-inpaint-editor")
                select = gr.Button("Select the subject", size="sm", elem_id="artflow-inpaint-select")
                prompt = controls.built["prompt"] = prompt_box(self._pipeline, "", elem_id="artflow-inpaint-prompt")
                with gr.Row():
                    run = gr.Button("Generate", variant="primary", elem_id="artflow-inpaint-run")
                    gone = gr.Button("Remove (no prompt)", elem_id="artflow-inpaint-remove")
                    stop = gr.Button("Cancel")
                examples(self._pipeline, prompt)
                with gr.Row():
                    controls.add("strength")
                    controls.add("fill")
                with gr.Row():
                    controls.add("feather", maximum=64)
                    controls.add("mask_edge")
                with gr.Row():
                    controls.add("only_masked")
                    controls.add("padding", maximum=256)
                job_settings(self._pipeline, controls)
            with gr.Column():
                slider = gr.ImageSlider(label="Before and after", elem_id="artflow-inpaint-slider")
                status = gr.Markdown(elem_id="artflow-inpaint-status")
                show = gr.Checkbox(label="Show the mask", elem_id="artflow-inpaint-show-mask")
                tinted = gr.Image(
                    label="Mask over the result", format="jpeg", interactive=False, visible=False, buttons=[],
                    elem_id="artflow-inpaint-tinted",
                )  # fmt: skip
                show.change(
                    lambda on: gr.Image(visible=on), show, tinted, queue=False, show_progress="hidden",
                    api_visibility="private",
                )  # fmt: skip
                result = result_place("artflow-inpaint-result")
                self.send = SendTo("inpaint", result)
        self.controls = controls.built
        settings, results = [controls.built[name] for name in INPUTS], [result, slider, tinted, status]
        run.click(
            self._painted, [self.picture, self._editor, *settings], results, api_visibility="private",
            concurrency_limit=None, show_progress="hidden",
        )  # fmt: skip
        gone.click(
            self._cleared, [self.picture, self._editor, controls.built["feather"]], results, api_visibility="private",
            concurrency_limit=None, show_progress="hidden",
        )  # fmt: skip
        for button in (run, gone):
            show_result(button, "artflow-inpaint-slider")
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")
        select.click(
            self._selected, self.picture, self._editor, show_progress="minimal", concurrency_limit=2,
            api_visibility="private",
        )  # fmt: skip
        # Also on the editor's clear button, which removes the picture together with the strokes.
        gr.on(
            [self.picture.change, self._editor.clear], self._opened, self.picture, self._editor,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        # The API endpoints take the mask as a second picture.
        mask = PictureUpload("Mask", visible=False)
        gr.Button(visible=False).click(
            as_sent(self.inpaint), [self.picture, mask, *settings], results, api_name="inpaint", concurrency_limit=None,
            preprocess=False,
        )  # fmt: skip
        gr.Button(visible=False).click(
            as_sent(self.remove), [self.picture, mask, controls.built["feather"]], results, api_name="remove",
            concurrency_limit=None, preprocess=False,
        )  # fmt: skip

    def leave(self, request: gr.Request) -> None:
        """End what a page has asked for that is gone, and drop what it has sent."""
        self._jobs.stop(request)
        self._editor.forget(request)

    @said
    def _opened(self, path: str | None) -> Any:
        if path and not shown_by_browsers(path):
            return gr.skip()  # a copy follows (`picture_input`), and would take away what is painted meanwhile
        return shown_in_editor(self._reduced(path).picture if path else None)

    @said
    def _selected(self, path: str | None) -> Any:
        """Paint over the subject; over faint edges, too, since what is painted over is what goes."""
        shown = self._reduced(path).picture
        return shown_in_editor(shown, np.where(self._pipeline.subject(shown) > FAINT, np.uint8(255), np.uint8(0)))

    def _painted(
        self, request: gr.Request, path: str | None, layers: tuple[bytes, ...], *values: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Inpaint the part that is painted over in the editor."""
        yield from self._run(path, self._painted_over(path, layers), self._pipeline.inpaint, _named(values), request)

    def _cleared(
        self, request: gr.Request, path: str | None, layers: tuple[bytes, ...], feather: int
    ) -> Iterator[tuple[Any, ...]]:
        """Remove what is painted over in the editor."""
        changes = {"feather": feather}
        yield from self._run(path, self._painted_over(path, layers), self._pipeline.remove, changes, request)

    def _painted_over(self, path: str | None, layers: tuple[bytes, ...]) -> Callable[[Size], Mask]:
        def masked(size: Size) -> Mask:
            shown = self._reduced(path or "").picture
            return painted_mask(layers, size, Size(shown.shape[1], shown.shape[0]), self._pipeline.settings.server)

        return masked

    def inpaint(
        self,
        picture: str | None,
        mask: str | None,
        prompt: str,
        negative_prompt: str,
        strength: float,
        fill: str,
        feather: int,
        only_masked: bool,
        padding: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        seed: int,
        model: str,
        mask_edge: str,
        prediction_type: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Inpaint: replace the masked part of a picture by what the prompt says.

        Args:
            picture: a picture file; over MCP its URL, such as that of a result
            mask: a picture of the same size: white, or not transparent, where the picture is replaced
            prompt: what the masked part shows
            negative_prompt: what to avoid
            strength: 0 keeps what is there, 1 replaces it
            fill: what the masked part holds at the start: original, blur, noise or empty
            feather: pixels over which the edge is soft
            only_masked: work on the masked part alone, at the model's full size
            padding: pixels of context around that part
            steps: denoising steps
            guidance_scale: how strictly the prompt is followed; 1 is off
            sampler: Euler, Euler a, DPM++ 2M Karras, UniPC, DDIM or LCM
            seed: -1 for a random one
            model: an id of the catalog; empty for the app's own
            mask_edge: where the soft edge lies: inwards (nothing outside of the mask changes), centred or outwards
            prediction_type: what the model predicts: auto (as its file says), epsilon or v_prediction
        """
        values = (
            prompt, negative_prompt, strength, fill, feather, only_masked, padding, steps, guidance_scale, sampler,
            seed, model, mask_edge, prediction_type,
        )  # fmt: skip

        yield from self._run(picture, self._uploaded(mask), self._pipeline.inpaint, _named(values), request)

    def remove(
        self, picture: str | None, mask: str | None, feather: int, request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        """Remove what a mask covers from a picture: the background goes on in its place. Needs no prompt.

        Args:
            picture: a picture file; over MCP its URL, such as that of a result
            mask: a picture of the same size: white, or not transparent, where something is to be removed
            feather: pixels around the mask over which the edge is soft
        """
        yield from self._run(picture, self._uploaded(mask), self._pipeline.remove, {"feather": feather}, request)

    def _uploaded(self, mask: str | None) -> Callable[[Size], Mask]:
        def masked(size: Size) -> Mask:
            return painted_mask((read_bytes(mask, "a mask"),), size, size, self._pipeline.settings.server)

        return masked

    def _run(
        self, path: str | None, masked: Callable[[Size], Mask], make: Make, changes: dict[str, Any], request: gr.Request
    ) -> Iterator[tuple[Any, ...]]:
        mask: Mask | None = None

        def work(context: JobContext) -> list[GeneratedImage]:
            nonlocal mask
            original, profile = read_photo(path, self._pipeline.settings.server)
            mask = masked(Size(original.shape[1], original.shape[0]))
            return make(original, mask, changes, context, profile)

        for _, words, made in self._jobs.run(request, work):
            if not made or mask is None:
                yield gr.skip(), gr.skip(), gr.skip(), words
                continue
            with saved(
                made
            ) as paths:  # the slider gets the files, since encoding PNGs again takes longer than the model
                yield paths[0], (path, paths[0]), _tinted(made[0], mask), words


def _named(values: tuple[Any, ...]) -> dict[str, Any]:
    """The values of the settings by their names."""
    return dict(zip(INPUTS, values, strict=True))


def _tinted(made: GeneratedImage, mask: Mask) -> Picture:
    """The mask over a copy of the result that fits on a screen."""
    size = Size(made.picture.shape[1], made.picture.shape[0]).within(TINTED)
    picture = to_srgb(flattened(resized(made.picture, size)), made.profile)
    return tint(picture, resized(mask, size))
