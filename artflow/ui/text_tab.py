"""The text tab: asked once and answered once, or following the typing."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from artflow.engine.job import Made, Progress
from artflow.engine.sampling import SAMPLERS
from artflow.errors import ArtflowError
from artflow.images import Picture, encode_png
from artflow.pipeline import Loading, Pipeline
from artflow.ui.controls import ParamControls, prompt_box, said

TYPING_SEED = 2  # while somebody types, a new seed each time would hide what the words do


class TextTab:
    """The tab and its two actions: ``text`` (also the API endpoint and MCP tool of that name) and ``typed``."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._running: dict[str, threading.Event] = {}
        self._build()

    def _build(self) -> None:
        defaults = self._pipeline.text_defaults()
        controls = ParamControls(defaults)
        with gr.Row():
            with gr.Column(scale=2):
                example = self._pipeline.spec.examples[0] if self._pipeline.spec.examples else ""
                prompt = prompt_box(example, max_length=self._pipeline.settings.server.max_prompt, elem_id="artflow-text-prompt")
                follow = gr.Checkbox(True, label="Follow my typing")
                with gr.Row():
                    generate = gr.Button("Generate", variant="primary", elem_id="artflow-generate")
                    stop = gr.Button("Cancel", elem_id="artflow-cancel")
                gr.Examples(self._pipeline.spec.examples, prompt, label="Try one of these")
                negative = controls.add("negative_prompt", label="What to avoid")
                with gr.Row():
                    steps, cfg = controls.add("steps"), controls.add("guidance_scale")
                with gr.Row():
                    width = controls.add("width", minimum=64, maximum=self._pipeline.settings.server.max_size, step=1)
                    height = controls.add("height", minimum=64, maximum=self._pipeline.settings.server.max_size, step=1)
                with gr.Row():
                    sampler = gr.Dropdown(list(SAMPLERS), value=defaults.sampler, label="Sampler")
                    seed, count = controls.add_seed(), controls.add("batch_count")
                model = gr.Dropdown(
                    [(m.title, m.id) for m in self._pipeline.choices], value=self._pipeline.spec.id, label="Model"
                )
            with gr.Column(scale=3):
                preview = gr.Image(label="Picture", format="jpeg", interactive=False, elem_id="artflow-text-preview")
                status = gr.Markdown(elem_id="artflow-text-status")
                gallery = gr.Gallery(label="Made", format="png", columns=4, elem_id="artflow-text-gallery")
                used_seed = gr.Number(label="Seed used", precision=0, interactive=False)
        inputs = [prompt, negative, steps, cfg, width, height, sampler, seed, count, model]
        generate.click(
            self.text, inputs, [gallery, used_seed, preview, status], api_name="text", concurrency_limit=None,
            show_progress="hidden",
        )  # fmt: skip
        stop.click(self.stop, None, None, queue=False, api_visibility="private")
        prompt.input(
            self.typed, [follow, *inputs], [preview, status], trigger_mode="always_last", show_progress="hidden",
            concurrency_limit=None, api_visibility="private",
        )  # fmt: skip

    def text(
        self,
        prompt: str,
        negative_prompt: str = "",
        steps: int = 4,
        guidance_scale: float = 1.0,
        width: int = 512,
        height: int = 512,
        sampler: str = "LCM",
        seed: int = -1,
        batch_count: int = 1,
        model: str = "",
        request: gr.Request | None = None,
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
        """
        changes = {
            "prompt": prompt, "negative_prompt": negative_prompt, "steps": steps, "guidance_scale": guidance_scale,
            "width": width, "height": height, "sampler": sampler, "seed": seed, "batch_count": batch_count,
            "model": "" if model == self._pipeline.spec.id else model,
        }  # fmt: skip
        session = getattr(request, "session_hash", None) or ""
        cancelled = threading.Event()
        previous = self._running.get(session) if session else None
        if previous is not None:
            previous.set()
        self._running[session] = cancelled
        try:
            with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
                for event in self._events(changes, cancelled):
                    if isinstance(event, list):
                        yield self._finished(event, Path(folder), cancelled.is_set())
                    else:
                        picture, words = event
                        yield gr.skip(), gr.skip(), gr.skip() if picture is None else picture, words
        except ArtflowError as error:
            raise gr.Error(error.message, title="That did not work") from error
        finally:
            cancelled.set()
            if self._running.get(session) is cancelled:
                del self._running[session]

    def stop(self, request: gr.Request) -> None:
        """End this browser's job before its next step."""
        running = self._running.get(request.session_hash or "")
        if running is not None:
            running.set()

    @said
    def typed(self, follow: bool, prompt: str, *rest: Any) -> tuple[Any, Any]:
        """The picture of what is typed so far: one picture, the seed held still."""
        if not follow or not prompt.strip():
            return gr.skip(), gr.skip()
        names = ("negative_prompt", "steps", "guidance_scale", "width", "height", "sampler", "seed")
        changes = {"prompt": prompt} | dict(zip(names, rest, strict=False))
        if changes["seed"] == -1:
            changes["seed"] = TYPING_SEED
        made = self._pipeline.generate(changes)
        return (made[0].picture, "") if made else (gr.skip(), gr.skip())

    def _events(self, changes: dict[str, Any], cancelled: threading.Event) -> Iterator[Any]:
        """(picture or None, words) while the job runs, then the list of what was made."""
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def loading(state: Loading) -> None:
            share = "" if state.fraction is None else f" ({state.fraction:.0%})"
            events.put((None, f"{state.message}{share}"))

        def progress(p: Progress) -> None:
            number = f", picture {p.picture + 1} of {p.pictures}" if p.pictures > 1 else ""
            events.put((p.preview, f"Step {p.step} of {p.steps}{number}"))

        def work() -> None:
            try:
                events.put(self._pipeline.generate(changes, progress, loading, cancelled))
            except Exception as error:  # noqa: BLE001 - raised again where the person is
                events.put(error)

        threading.Thread(target=work, name="text job", daemon=True).start()
        while True:
            event = events.get()
            if isinstance(event, Exception):
                raise event
            yield event
            if isinstance(event, list):
                return

    def _finished(self, made: list[Made], folder: Path, cancelled: bool) -> tuple[Any, ...]:
        words = f"Made {len(made)}." if not cancelled else f"Cancelled; {len(made)} made before that are kept."
        if not made:
            return gr.skip(), gr.skip(), gr.skip(), words
        paths = [_save(m, folder) for m in made]
        last: Picture = made[-1].picture
        return paths, made[0].recipe["seed"], last, words


def _save(made: Made, folder: Path) -> str:
    """A PNG that carries its recipe; Gradio copies it into its cache."""
    path = folder / f"artflow-{made.recipe['seed']}.png"
    path.write_bytes(encode_png(made.picture, made.recipe))
    return str(path)
