"""The outpaint tab: the picture goes on beyond its borders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, to_rgb
from artflow.modes import outpaint
from artflow.modes.outpaint import OutpaintParams
from artflow.pipeline import Pipeline, Watch
from artflow.ui.controls import ParamControls, examples, model_choice, prompt_box, said
from artflow.ui.jobs import Jobs, saved

INPUTS = (
    "prompt", "negative_prompt", "left", "up", "right", "down", "strength", "fill", "steps", "guidance_scale",
    "sampler", "seed", "model",
)  # fmt: skip
RATIOS = {"1:1": 1.0, "4:3": 4 / 3, "16:9": 16 / 9, "3:4": 3 / 4, "9:16": 9 / 16}
ANCHORS: dict[str, outpaint.Anchor] = {
    "In the middle": "centre",
    "At the left or top": "left",
    "At the right or bottom": "right",
}


class OutpaintTab:
    """The tab and its action, ``outpaint``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs = Jobs()
        self._build()

    def _build(self) -> None:
        controls = ParamControls(self._pipeline.defaults(OutpaintParams))
        with gr.Row():
            with gr.Column():
                source = gr.Image(
                    label="Picture", type="pil", sources=["upload", "clipboard"], image_mode=None,
                    elem_id="artflow-outpaint-source",
                )  # fmt: skip
                prompt = controls.built["prompt"] = prompt_box(self._pipeline, "", elem_id="artflow-outpaint-prompt")
                with gr.Row():
                    run = gr.Button("Carry on", variant="primary", elem_id="artflow-outpaint-run")
                    stop = gr.Button("Cancel")
                examples(self._pipeline, prompt)
                with gr.Row():
                    sides = [controls.add(side, maximum=1024) for side in ("left", "up", "right", "down")]
                with gr.Row():
                    ratio = gr.Radio(list(RATIOS), label="Or an aspect")
                    anchor = gr.Dropdown(list(ANCHORS), value="In the middle", label="The picture stays")
                with gr.Accordion("More settings", open=False):
                    controls.add("negative_prompt", label="What to avoid")
                    with gr.Row():
                        controls.add("strength")
                        controls.add("fill")
                    with gr.Row():
                        controls.add("steps", maximum=50)
                        controls.add("guidance_scale")
                    with gr.Row():
                        controls.add("sampler")
                        controls.add_seed()
                    controls.built["model"] = model_choice(self._pipeline)
            with gr.Column():
                result = gr.Image(label="Result", format="png", interactive=False, elem_id="artflow-outpaint-result")
                status = gr.Markdown(elem_id="artflow-outpaint-status")
                frame = gr.Image(label="The new frame", format="jpeg", interactive=False)
        run.click(
            self.outpaint, [source, *(controls.built[name] for name in INPUTS)], [result, status],
            api_name="outpaint", concurrency_limit=None, show_progress="hidden",
        )  # fmt: skip
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")
        gr.on(
            [ratio.change, anchor.change], self._for_ratio, [source, ratio, anchor], sides,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
        gr.on(
            [source.change, *(side.change for side in sides)], self._preview, [source, *sides], frame,
            trigger_mode="always_last", show_progress="hidden", api_visibility="private",
        )  # fmt: skip

    def outpaint(
        self,
        source: Any,
        prompt: str,
        negative_prompt: str,
        left: int,
        up: int,
        right: int,
        down: int,
        strength: float,
        fill: str,
        steps: int,
        guidance_scale: float,
        sampler: str,
        seed: int,
        model: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Carry a picture on beyond its borders.

        Args:
            source: the picture
            prompt: what the whole shows
            negative_prompt: what to avoid
            left: pixels to add at the left
            up: pixels to add at the top
            right: pixels to add at the right
            down: pixels to add at the bottom
            strength: 0 keeps the drawn-out edges, 1 starts anew
            fill: what the new part holds before: original (drawn-out edges), blur, noise or empty
            steps: denoising steps
            guidance_scale: how strictly the prompt is followed; 1 is off
            sampler: Euler, Euler a, DPM++ 2M Karras, UniPC, DDIM or LCM
            seed: -1 for a random one
            model: an id of the catalog; empty for the app's own
        """
        values = (
            prompt, negative_prompt, left, up, right, down, strength, fill, steps, guidance_scale, sampler, seed, model,
        )  # fmt: skip
        changes = dict(zip(INPUTS, values, strict=True))

        def work(watch: Watch) -> Any:
            return self._pipeline.outpaint(_picture(source), changes, watch)

        for _, words, made in self._jobs.run(request, work):
            if not made:
                yield gr.skip(), words
                continue
            with saved(made) as paths:
                yield paths[0], words

    @said
    def _for_ratio(self, source: Any, ratio: str | None, anchor: str) -> list[Any]:
        if ratio is None or source is None:
            return [gr.skip()] * 4
        return list(outpaint.borders_for_ratio(Size(*source.size), RATIOS[ratio], ANCHORS[anchor]))

    @said
    def _preview(self, source: Any, left: int, up: int, right: int, down: int) -> Any:
        if source is None:
            return None
        borders = outpaint.Borders(left, up, right, down)
        return outpaint.preview(to_rgb(source), borders)


def _picture(source: Any) -> Picture:
    if source is None:
        raise ArtflowError("no_picture", "There is no picture yet; drop one on the left.")
    return to_rgb(source)
