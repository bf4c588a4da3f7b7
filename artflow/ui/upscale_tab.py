"""The upscale tab: enlarges a picture in tiles; the model may redraw the result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artflow.engine.job_request import GeneratedImage
from artflow.images import Picture, flattened
from artflow.job_context import JobContext
from artflow.metadata import carried_recipe
from artflow.modes.tiled_img2img import UpscaleParams
from artflow.modes.upscale import FACTORS
from artflow.pipeline import Pipeline
from artflow.ui.controls import (
    ParamControls,
    described,
    examples,
    job_settings,
    prompt_box,
    show_result,
    upscaler_choice,
)
from artflow.ui.files import picture_input, read_bytes, read_with_alpha, recipe_size, result_place, saved_png
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs
from artflow.ui.send import SendTo

INPUTS = (
    "factor", "upscaler", "strength", "prompt", "negative_prompt", "steps", "guidance_scale", "sampler", "seed",
    "model", "prediction_type",
)  # fmt: skip
COMPARED = 2048  # longest side of the pictures in the comparison slider


class UpscaleTab:
    """The tab and its action, ``upscale``.

    ``picture`` receives pictures of other tabs, ``send`` has the buttons that send results; ``controls`` are by
    parameter name.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs = Jobs(pipeline.settings.server)
        self.leave = self._jobs.stop
        self._build()

    def _build(self) -> None:
        controls = ParamControls(self._pipeline.parameters.job(UpscaleParams))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                limits = self._pipeline.settings.server
                self.picture = picture_input(limits, elem_id="artflow-upscale-picture", height=320)
                factor = gr.Radio([(f"{f}x", f) for f in FACTORS], value=2, label="Scale factor")
                controls.built["factor"] = described(factor, {"type": "integer", "enum": list(FACTORS)})
                controls.built["upscaler"] = upscaler_choice("Upscaler")
                controls.add("strength", elem_id="artflow-upscale-strength")
                prompt = controls.built["prompt"] = prompt_box(
                    self._pipeline, "", placeholder="used where Strength is above 0"
                )
                with gr.Row():
                    run = gr.Button("Upscale", variant="primary", elem_id="artflow-upscale-run")
                    stop = gr.Button("Cancel", elem_id="artflow-upscale-cancel")
                status = gr.Markdown(elem_id="artflow-upscale-status")
                examples(self._pipeline, prompt)
                job_settings(self._pipeline, controls)
            with gr.Column(scale=3, min_width=300):
                compared = gr.ImageSlider(
                    label="Before and after", format="jpeg", interactive=False, buttons=["fullscreen"],
                    elem_id="artflow-upscale-slider",
                )  # fmt: skip
                result = result_place("artflow-upscale-result")
                self.send = SendTo("upscale", result)
        self.controls = controls.built
        run.click(
            as_sent(self.upscale), [self.picture, *(controls.built[name] for name in INPUTS)],
            [result, compared, status], api_name="upscale", concurrency_limit=None, show_progress="hidden",
            preprocess=False,
        )  # fmt: skip
        show_result(run, "artflow-upscale-slider")
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")

    def upscale(
        self,
        picture: str | None,
        factor: int,
        upscaler: str,
        strength: float,
        prompt: str,
        negative_prompt: str,
        steps: int,
        guidance_scale: float,
        sampler: str,
        seed: int,
        model: str,
        prediction_type: str,
        request: gr.Request,
    ) -> Iterator[tuple[Any, Any, str]]:
        """Make a picture larger, and let the model add detail to it.

        Args:
            picture: a picture file; over MCP its URL, such as that of a result
            factor: 2, 3, 4 or 8 times
            upscaler: span, lanczos, or the name of a file in the folder of upscalers
            strength: how much the model redraws the result, in tiles: 0 not at all, 0.3 adds detail
            prompt: what is redrawn shows
            negative_prompt: what to avoid
            steps: denoising steps of each tile
            guidance_scale: how strictly the prompt is followed; 1 is off
            sampler: Euler, Euler a, DPM++ 2M Karras, UniPC, DDIM or LCM
            seed: -1 for a random one
            model: an id of the catalog; empty for the app's own
            prediction_type: what the model predicts: auto (as its file says), epsilon or v_prediction
        """
        values = (
            factor, upscaler, strength, prompt, negative_prompt, steps, guidance_scale, sampler, seed, model,
            prediction_type,
        )  # fmt: skip
        changes = dict(zip(INPUTS, values, strict=True))
        original: NDArray[np.uint8] | None = None

        def work(context: JobContext) -> list[GeneratedImage]:
            nonlocal original
            original = read_with_alpha(read_bytes(picture), self._pipeline.settings.server)
            recipe = {"mode": "upscale"} | carried_recipe(read_bytes(picture))
            made = self._pipeline.upscale(original, changes, context)
            return [replace(m, recipe=recipe | m.recipe | recipe_size(m.picture)) for m in made]

        for _, words, made in self._jobs.run(request, work):
            if not made or original is None:
                yield gr.skip(), gr.skip(), words
                continue
            result = made[0]
            with saved_png(result.picture, result.recipe, f"artflow-{result.recipe['factor']}x.png") as path:
                height, width = result.picture.shape[:2]
                yield (
                    path,
                    _compared(original, result.picture),
                    f"{words} {width} x {height} pixels.",
                )


def _compared(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[Picture, Picture]:
    """Both at one size and on white for the slider: the original enlarged by bicubic interpolation, and the result."""
    height, width = after.shape[:2]
    factor = min(1.0, COMPARED / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    plain, made = (
        np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC))
        for p in (flattened(before), flattened(after))
    )
    return plain, made
