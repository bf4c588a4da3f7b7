"""The text tab: pictures from a prompt, on request or while typing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from artflow.engine.job_request import GeneratedImage
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.pipeline import Pipeline
from artflow.ui.control_drawer import ControlDrawer
from artflow.ui.controls import ParamControls, examples, model_choice, prompt_box, said, show_result, upscaler_choice
from artflow.ui.files import read_picture
from artflow.ui.inputs import as_sent
from artflow.ui.jobs import Jobs, Outcome, remarks, saved
from artflow.ui.lora_drawer import lora_drawer
from artflow.ui.send import from_gallery

INPUTS = (
    "prompt", "negative_prompt", "steps", "guidance_scale", "width", "height", "sampler", "seed", "batch_count",
    "model", "hires_scale", "hires_upscaler", "hires_steps", "hires_denoise",
    "prediction_type", "loras",
)  # fmt: skip
TYPING_SEED = 2  # fixed while typing, so that only the words change the picture


class TextTab:
    """The tab and its two actions: ``text`` (also the API endpoint and MCP tool of that name) and ``typed``.

    ``controls`` are by parameter name; ``send`` has the buttons that send results to other tabs.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._jobs, self._typing = Jobs(), Jobs()
        self._build()

    def _build(self) -> None:
        defaults = self._pipeline.parameters.text()
        controls = ParamControls(defaults)
        with gr.Row():
            with gr.Column(scale=2):
                example = self._pipeline.spec.examples[0] if self._pipeline.spec.examples else ""
                prompt = prompt_box(self._pipeline, example, elem_id="artflow-text-prompt")
                follow = gr.Checkbox(True, label="Generate while typing")
                with gr.Row():
                    generate = gr.Button("Generate", variant="primary", elem_id="artflow-generate")
                    stop = gr.Button("Cancel", elem_id="artflow-cancel")
                examples(self._pipeline, prompt)
                negative = controls.add("negative_prompt")
                with gr.Row():
                    steps, cfg = controls.add("steps"), controls.add("guidance_scale")
                longest = self._pipeline.settings.server.max_size
                with gr.Row():
                    width = controls.add("width", minimum=64, maximum=longest)
                    height = controls.add("height", minimum=64, maximum=longest)
                with gr.Row():
                    seed, count = controls.add_seed(), controls.add("batch_count")
                with gr.Row():
                    sampler, model = controls.add("sampler"), model_choice(self._pipeline)
                    prediction = controls.add("prediction_type")
                loras = lora_drawer(self._pipeline, "text")
                steering = ControlDrawer("text").of_a_picture(self._pipeline)
                with gr.Accordion("Hires fix", open=False):
                    with gr.Row():
                        hires = [controls.add("hires_scale", step=0.25, elem_id="artflow-hires-scale")]
                        hires.append(upscaler_choice("Upscaler"))
                    with gr.Row():
                        hires += [controls.add("hires_steps"), controls.add("hires_denoise")]
            with gr.Column(scale=3):
                preview = gr.Image(
                    label="Result", format="jpeg", interactive=False, height=420, elem_id="artflow-text-preview"
                )
                status = gr.Markdown(elem_id="artflow-text-status")
                gallery = gr.Gallery(
                    label="Results", format="png", columns=4, type="filepath", object_fit="contain", interactive=False,
                    height=260, elem_id="artflow-text-gallery",
                )  # fmt: skip
                self.send = from_gallery("text", gallery)
                used_seed = gr.Number(label="Seed used", precision=0, interactive=False)
        inputs = [prompt, negative, steps, cfg, width, height, sampler, seed, count, model, *hires, prediction, loras]
        self.controls = dict(zip(INPUTS, inputs, strict=True))
        generate.click(
            as_sent(self.text), [*inputs, *steering], [gallery, used_seed, preview, status], api_name="text",
            concurrency_limit=None, show_progress="hidden", preprocess=False,
        )  # fmt: skip
        show_result(generate, "artflow-text-preview")
        stop.click(self.leave, None, None, queue=False, api_visibility="private")
        prompt.change(  # not `input`, which a clicked example does not fire
            as_sent(self.typed), [follow, *inputs, *steering], [preview, status], trigger_mode="always_last",
            show_progress="hidden", concurrency_limit=None, api_visibility="private", preprocess=False,
        )  # fmt: skip

    def text(
        self,
        prompt: str,
        negative_prompt: str,
        steps: int,
        guidance_scale: float,
        width: int,
        height: int,
        sampler: str,
        seed: int,
        batch_count: int,
        model: str,
        hires_scale: float,
        hires_upscaler: str,
        hires_steps: int,
        hires_denoise: float,
        prediction_type: str,
        loras: str,
        request: gr.Request,
        control: list[dict[str, Any]] | None = None,
        control_picture: str | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """Make pictures from a text.

        Args:
            prompt: what the picture shows
            negative_prompt: what to avoid
            steps: denoising steps, 1 to 150
            guidance_scale: how strictly the prompt is followed; 1 is off
            width: pixels, a multiple of 8
            height: pixels, a multiple of 8
            sampler: Euler, Euler a, DPM++ 2M Karras, UniPC, DDIM or LCM
            seed: -1 for a random one
            batch_count: how many pictures; each has the seed plus its number
            model: an id of the catalog; empty for the app's own
            hires_scale: 1 to 4; above 1 the picture is enlarged so much and redrawn in a second pass (Hires fix)
            hires_upscaler: span, lanczos, or the name of a file in the folder of upscalers
            hires_steps: of the second pass; 0 for as many as in the first
            hires_denoise: how much the second pass changes, 0.05 to 1
            prediction_type: what the model predicts: auto (as its file says), epsilon or v_prediction
            loras: weights by name as JSON, such as {"neon": 0.8}; -2 to 2 each, 8 at most
            control: what steers the picture, at most 4: objects with kind (canny, scribble, depth ...), weight 0 to 2,
                start and end (fractions of the steps), mode (balanced, prompt, control) and preprocess (auto, none ...)
            control_picture: a picture file that the maps of the controls are made of; over MCP its URL
        """
        changes = self._changes(
            prompt, negative_prompt, steps, guidance_scale, width, height, sampler, seed, batch_count, model,
            hires_scale, hires_upscaler, hires_steps, hires_denoise, prediction_type, loras,
        ) | {"control": control or []}  # fmt: skip

        def work(context: JobContext) -> list[GeneratedImage]:
            return self._pipeline.generate(changes, context, self._steering(control, control_picture))

        self._typing.stop(request)  # else a picture of earlier typing could arrive later and replace this one
        for picture, words, made in self._jobs.run(request, work):
            shown = gr.skip() if picture is None else picture
            if not made:
                yield gr.skip(), gr.skip(), shown, words
                continue
            with saved(made) as paths:
                yield paths, made[0].recipe["seed"], shown, words

    def typed(self, request: gr.Request, follow: bool, prompt: str, *values: Any) -> Iterator[tuple[Any, Any]]:
        """One picture of the prompt typed so far, with a fixed seed."""
        nothing = gr.skip(), gr.skip()
        *rest, control, picture = values
        if not follow or not prompt.strip() or None in rest:  # a number field is empty on the way to another number
            yield nothing
            return
        # Nothing is downloaded while typing, whatever is chosen for Generate.
        changes = self._changes(prompt, *rest) | {"batch_count": 1, "hires_scale": 1, "hires_upscaler": "span"}
        if not said(self._pipeline.is_here)(changes["model"]):
            yield gr.skip(), "Press Generate once to load this model; then the picture follows the typing."
            return
        if changes["seed"] == -1:
            changes["seed"] = TYPING_SEED
        if control and picture:
            changes["control"] = control

        def work(context: JobContext) -> list[GeneratedImage]:
            return self._pipeline.generate(changes, context, self._steering(changes.get("control"), picture))

        for event in self._typing.follow(request, work):
            made = event.value if isinstance(event, Outcome) and not event.cancelled else []
            yield (made[0].picture, remarks(made)) if made else nothing

    def _steering(self, control: Any, path: str | None) -> Picture | None:
        """The picture that the maps are made of, where there is a control."""
        limits = self._pipeline.settings.server
        return read_picture(path, limits, limits.max_size) if control and path else None

    def leave(self, request: gr.Request) -> None:
        """End this browser's jobs, both typed and requested: it is cancelled, or gone."""
        self._jobs.stop(request)
        self._typing.stop(request)

    def _changes(self, *values: Any) -> dict[str, Any]:
        """The values of the controls by parameter name, in the controls' order."""
        return dict(zip(INPUTS, values, strict=True))
