"""The outpaint tab: extends a picture beyond its borders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from artflow.images import Size, resized
from artflow.job_context import JobContext
from artflow.modes import outpaint
from artflow.modes.outpaint import OutpaintParams
from artflow.modes.schema import merged
from artflow.pipeline import Pipeline
from artflow.ui.controls import ParamControls, examples, job_settings, prompt_box, said, show_result
from artflow.ui.files import picture_input, read_photo, reducer, result_place
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs, saved
from artflow.ui.send import SendTo

INPUTS = (
    "prompt", "negative_prompt", "left", "up", "right", "down", "unit", "strength", "fill", "steps", "guidance_scale",
    "sampler", "seed", "model",
)  # fmt: skip
PREVIEW = 768  # longest side of the preview
RATIOS = {"1:1": 1.0, "4:3": 4 / 3, "16:9": 16 / 9, "3:4": 3 / 4, "9:16": 9 / 16}
ANCHORS: dict[str, outpaint.Anchor] = {
    "In the middle": "centre",
    "At the left or top": "left",
    "At the right or bottom": "right",
}


class OutpaintTab:
    """The tab and its action, ``outpaint``.

    ``picture`` receives pictures of other tabs, ``send`` has the buttons that send results; ``controls`` are by
    parameter name.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs = Jobs()
        self.leave = self._jobs.stop
        self._reduced = reducer(pipeline.settings.server, PREVIEW)
        self._build()

    def _build(self) -> None:
        controls = ParamControls(self._pipeline.parameters.job(OutpaintParams))
        with gr.Row():
            with gr.Column():
                limits = self._pipeline.settings.server
                self.picture = picture_input(limits, elem_id="artflow-outpaint-source")
                prompt = controls.built["prompt"] = prompt_box(self._pipeline, "", elem_id="artflow-outpaint-prompt")
                with gr.Row():
                    run = gr.Button("Generate", variant="primary", elem_id="artflow-outpaint-run")
                    stop = gr.Button("Cancel")
                examples(self._pipeline, prompt)
                for pair in (("left", "right"), ("up", "down")):
                    with gr.Row():
                        for side in pair:
                            controls.add(side)
                sides = [controls.built[side] for side in outpaint.Borders._fields]
                with gr.Row():
                    unit = controls.add("unit")
                    ratio = gr.Radio(list(RATIOS), label="Aspect ratio")
                    anchor = gr.Dropdown(list(ANCHORS), value="In the middle", label="Position of the picture")
                job_settings(self._pipeline, controls, "strength", "fill")
            with gr.Column():
                result = result_place("artflow-outpaint-result")
                self.send = SendTo("outpaint", result)
                status = gr.Markdown(elem_id="artflow-outpaint-status")
                frame = gr.Image(label="Preview", format="jpeg", interactive=False, elem_id="artflow-outpaint-frame")
                new_size = gr.Markdown(elem_id="artflow-outpaint-size")
        self.controls = controls.built
        # For the API; the page converts an aspect ratio to borders at once, to show them.
        aspect = gr.Number(0, label="Aspect", visible=False)
        stays = gr.Dropdown(list(ANCHORS.values()), label="Stays", visible=False)
        run.click(
            as_sent(self.outpaint),
            [
                self.picture, *(controls.built[name] for name in INPUTS), aspect, stays,
                controls.built["prediction_type"],
            ],
            [result, status], api_name="outpaint", concurrency_limit=None, show_progress="hidden", preprocess=False,
        )  # fmt: skip
        show_result(run, "artflow-outpaint-result")
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")
        gr.on(
            [ratio.change, anchor.change, self.picture.change], self._for_ratio,
            [self.picture, ratio, anchor], [*sides, unit],
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        gr.on(  # borders set by hand have another aspect ratio
            [control.input for control in (*sides, unit)], lambda: None, None, ratio, queue=False,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        gr.on(
            [control.change for control in (self.picture, *sides, unit)], self._preview,
            [self.picture, *sides, unit], [frame, new_size],
            trigger_mode="always_last", show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    def outpaint(
        self,
        picture: str | None,
        prompt: str,
        negative_prompt: str,
        left: int,
        up: int,
        right: int,
        down: int,
        unit: str,
        strength: float,
        fill: str,
        steps: int,
        guidance_scale: float,
        sampler: str,
        seed: int,
        model: str,
        ratio: float,
        anchor: outpaint.Anchor,
        prediction_type: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Outpaint: extend a picture beyond its borders.

        Args:
            picture: a picture file; over MCP its URL, such as that of a result
            prompt: what the whole picture shows
            negative_prompt: what to avoid
            left: how much to add at the left
            up: how much to add at the top
            right: how much to add at the right
            down: how much to add at the bottom
            unit: pixels, or percent of the picture's width or height
            strength: 0 keeps the mirrored edges, 1 replaces them
            fill: what the new part holds at the start: original (mirrored edges), blur, noise or empty
            steps: denoising steps
            guidance_scale: how strictly the prompt is followed; 1 is off
            sampler: Euler, Euler a, DPM++ 2M Karras, UniPC, DDIM or LCM
            seed: -1 for a random one
            model: an id of the catalog; empty for the app's own
            ratio: width over height of the result, 0.25 to 4, instead of the four sides; 0: use the sides
            anchor: where the picture is in it: centre, left (or top), right (or bottom)
            prediction_type: what the model predicts: auto (as its file says), epsilon or v_prediction
        """
        values = (
            prompt, negative_prompt, left, up, right, down, unit, strength, fill, steps, guidance_scale, sampler, seed,
            model,
        )  # fmt: skip
        changes = dict(zip(INPUTS, values, strict=True)) | {"prediction_type": prediction_type}

        def work(context: JobContext) -> Any:
            original, profile = read_photo(picture, self._pipeline.settings.server)
            aspect = merged(outpaint.AspectParams, {"ratio": ratio, "anchor": anchor})
            if aspect.ratio:
                size = Size(original.shape[1], original.shape[0])
                borders = outpaint.borders_for_ratio(size, aspect.ratio, aspect.anchor)
                changes.update(borders._asdict(), unit="pixels")
            return self._pipeline.outpaint(original, changes, context, profile)

        for _, words, made in self._jobs.run(request, work):
            if not made:
                yield gr.skip(), words
                continue
            with saved(made) as paths:
                yield paths[0], words

    @said
    def _for_ratio(self, source: str | None, ratio: str | None, anchor: str) -> list[Any]:
        if ratio is None or not source:
            return [gr.skip()] * 5
        size = self._reduced(source).size
        return [*outpaint.borders_for_ratio(size, RATIOS[ratio], ANCHORS[anchor]), "pixels"]

    @said
    def _preview(self, source: str | None, *amounts: Any) -> tuple[Any, str]:
        """The extended frame on a reduced copy, and its size in words."""
        if not source:
            return None, ""
        picture, size, _ = self._reduced(source)
        names = ("left", "up", "right", "down", "unit")
        params = self._pipeline.parameters.job(OutpaintParams, dict(zip(names, amounts, strict=True)))
        borders = params.borders(size)
        grown = Size(size.width + borders.left + borders.right, size.height + borders.up + borders.down)
        if any(borders):
            outpaint.check_borders(size, borders, max_pixels=self._pipeline.settings.server.max_pixels)
        share = min(1.0, PREVIEW / max(grown))
        small = resized(picture, size.scaled(share, 1))
        shown = outpaint.preview(small, outpaint.Borders(*(round(border * share) for border in borders)))
        return shown, f"{size} becomes {grown} pixels."
