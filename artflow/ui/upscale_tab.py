"""The upscale tab: a picture made larger, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from artflow.engine.job import Made, Progress
from artflow.images import Picture
from artflow.modes.readback import carried_recipe
from artflow.modes.tiles import Floats
from artflow.modes.upscale import FACTORS, upscale, upscalers
from artflow.pipeline import Pipeline, Watch
from artflow.ui.files import PictureUpload, read_bytes, read_picture, result_place, saved_png
from artflow.ui.jobs import Jobs
from artflow.ui.send import SendTo

COMPARED = 2048  # longest side of the pictures in the slider, which are for looking only


class UpscaleTab:
    """The tab and its action, ``upscale``.

    ``picture`` takes pictures of other tabs, ``send`` has the buttons to them.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs = Jobs()
        self._build()

    def _build(self) -> None:
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.picture = PictureUpload(elem_id="artflow-upscale-picture", height=320)
                factor = gr.Radio([(f"{f}x", f) for f in FACTORS], value=2, label="How much larger")
                upscaler = gr.Dropdown(self._choices(), value="span", label="Upscaler")
                with gr.Row():
                    run = gr.Button("Upscale", variant="primary", elem_id="artflow-upscale-run")
                    stop = gr.Button("Cancel", elem_id="artflow-upscale-cancel")
                status = gr.Markdown(elem_id="artflow-upscale-status")
            with gr.Column(scale=3, min_width=300):
                compared = gr.ImageSlider(
                    label="Before and after", format="jpeg", interactive=False, buttons=["fullscreen"],
                    elem_id="artflow-upscale-slider",
                )  # fmt: skip
                result = result_place("artflow-upscale-result")
                self.send = SendTo("upscale", result)
        run.click(
            self.upscale, [self.picture, factor, upscaler], [result, compared, status], api_name="upscale",
            concurrency_limit=2, show_progress="hidden",
        )  # fmt: skip
        stop.click(self._jobs.stop, None, None, queue=False, api_visibility="private")

    @staticmethod
    def _choices() -> list[tuple[str, str]]:
        return [(title, name) for name, title in upscalers().items()]

    def upscale(
        self, picture: str | None, factor: int, upscaler: str, request: gr.Request
    ) -> Iterator[tuple[Any, Any, str]]:
        """Make a picture larger.

        Args:
            picture: a JPEG, PNG or WebP file
            factor: 2, 3, 4 or 8 times
            upscaler: span, lanczos, or the name of a file in the folder of upscalers
        """
        original: Picture | None = None

        def work(watch: Watch) -> list[Made]:
            nonlocal original
            original = read_picture(picture, self._pipeline.settings.server)
            made = self._upscaled(original, factor, upscaler, watch)
            if made is None:
                return []
            recipe = {"mode": "upscale"} | carried_recipe(read_bytes(picture))
            return [Made(made, recipe | {"upscale": {"factor": factor, "upscaler": upscaler}})]

        for _, words, made in self._jobs.run(request, work):
            words = words.replace("Step", "Tile")
            if not made or original is None:
                yield gr.skip(), gr.skip(), words
                continue
            result = made[0]
            with saved_png(result.picture, result.recipe, f"artflow-{factor}x.png") as path:
                height, width = result.picture.shape[:2]
                yield path, _compared(original, result.picture), f"{words} {width} x {height} pixels."

    def _upscaled(self, picture: Picture, factor: int, upscaler: str, watch: Watch) -> Picture | None:
        pipeline = self._pipeline

        def progress(done: int, total: int) -> None:
            watch.on_progress(Progress(0, 1, done, total))

        # A GPU belongs to the engine's thread, where live frames go in between two tiles.
        def run(tile: Callable[[], Floats]) -> Floats:
            return pipeline.engine.call(tile).result() if pipeline.device == "cuda" else tile()

        return upscale(picture, factor, upscaler, progress, watch.cancelled, device=pipeline.device, run=run)


def _compared(before: Picture, after: Picture) -> tuple[Picture, Picture]:
    """Both at one size: before as plain enlargement shows it, after as it is."""
    height, width = after.shape[:2]
    factor = min(1.0, COMPARED / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    plain, made = (np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in (before, after))
    return plain, made
