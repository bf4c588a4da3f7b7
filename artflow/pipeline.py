"""The one pipeline that every tab and route calls: models loaded once, sessions and jobs on one engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, check_size
from artflow.interrogator import Answer, Interrogator
from artflow.log import about_prompt
from artflow.models.catalog import Catalog, ModelSpec, load_catalog
from artflow.models.dtypes import pick_device, pick_dtype
from artflow.models.progress import Underway
from artflow.parameters import Parameters
from artflow.prompts.vocabulary import Vocabulary, load_vocabulary
from artflow.settings import Settings, load_settings
from artflow.shelf import Loading, Shelf
from artflow.watch import Watch, in_thread

if TYPE_CHECKING:
    from artflow.engine.engine import Engine
    from artflow.engine.job import GeneratedImage
    from artflow.engine.runner import Runner
    from artflow.engine.session import LiveSession
    from artflow.engine.stream_policy import Result
    from artflow.modes.masks import Mask
    from artflow.modes.text import JobParams
    from artflow.modes.work import Run

log = logging.getLogger(__name__)
T = TypeVar("T")


class Pipeline:
    """Holds the engine and the models; builds both on first use. All methods are safe from any thread.

    Making one checks the settings against the catalog and the modes, and loads nothing.
    """

    def __init__(self, settings: Settings, catalog: Catalog | None = None) -> None:
        self.settings = settings
        self.catalog = catalog or load_catalog()
        self.device = pick_device(settings.model.device)
        pick_dtype(settings.model.dtype, self.device)  # refused now, and not when somebody waits for a picture
        self._lock = threading.Lock()
        self._jobs = 0  # requests in `generate`, the model's load included
        self._shelf: Shelf | None = None
        chosen = settings.model.model_id
        self.spec = self.catalog.default(self.device == "cuda") if chosen == "auto" else self.catalog.find(chosen)
        self.interrogator = Interrogator(settings.interrogate, self.device, settings.model.dtype, self.on_device)
        self.parameters = Parameters(settings, self.spec, self.catalog)
        self.parameters.check()

    @property
    def vocabulary(self) -> Vocabulary | None:
        """What the app's model knows, where it is limited to that."""
        return load_vocabulary(self.spec.source.folder)

    @property
    def choices(self) -> list[ModelSpec]:
        """The models that people may choose: the app's own first."""
        return [self.spec, *(spec for spec in self.catalog.models if spec.id != self.spec.id)]

    # -- models -----------------------------------------------------------------------------------------------------

    @property
    def shelf(self) -> Shelf:
        """The loaded models and the engine that runs them, started on first use."""
        from artflow.engine.engine import Engine

        with self._lock:
            if self._shelf is None:
                engine = Engine(self.settings.model.max_batch)
                self._shelf = Shelf(self.settings.model, self.settings.safety, self.device, engine, self.spec.id)
            return self._shelf

    @property
    def engine(self) -> Engine:
        """The engine, started on first use."""
        return self.shelf.engine

    def load(self, model_id: str = "") -> Loading:
        """Begin to load a model of the catalog (empty: the app's own), or find it loaded. Never blocks.

        Raises:
            ArtflowError: ``unknown_model``; ``busy`` where no more models fit.
        """
        return self.shelf.load(self._spec(model_id))

    def is_here(self, model_id: str) -> bool:
        """Whether a model (empty: the app's own) is loaded, or comes with the app or from a folder.

        Raises:
            ArtflowError: ``unknown_model``.
        """
        spec = self._spec(model_id)
        return spec.source.hub is None or (self._shelf is not None and self._shelf.has(spec.id))

    @property
    def loaded(self) -> list[str]:
        """The ids of the models in memory or on their way there."""
        return self._shelf.loaded if self._shelf is not None else []

    @property
    def notes(self) -> list[str]:
        """What people should know: each fallback, and why."""
        return self._shelf.notes if self._shelf is not None else []

    # -- pictures ---------------------------------------------------------------------------------------------------

    def open(
        self, mode: str, runner: Runner, changes: Mapping[str, Any], on_result: Callable[[Result], None]
    ) -> LiveSession:
        """A live session on a loaded model; it is served until its ``close``.

        Raises:
            ArtflowError: ``bad_parameter``, ``bad_size``, ``too_many_sessions``.
        """
        from artflow.engine.session import LiveSession

        limits = self.settings.server
        if 0 < limits.max_queue_size <= self.engine.sessions:
            raise ArtflowError(
                "too_many_sessions", f"All {limits.max_queue_size} places are taken; try again in a moment."
            )
        params = self.parameters.changed(self.parameters.live(mode), changes)
        session = LiveSession(runner, params, self.parameters.modes[mode].policy, on_result, max_size=limits.max_size)
        self.engine.add(session)
        log.info("a live session", extra={"session": session.id, "mode": mode, "model": runner.model.id})
        return session

    def generate(self, changes: Mapping[str, Any], watch: Watch | None = None) -> list[GeneratedImage]:
        """Text to pictures, enlarged and redrawn where HiresFix is asked for; blocks until they are made.

        Fewer come back when it is cancelled.

        Raises:
            ArtflowError: bad parameters, ``busy`` where too many wait, or what went wrong on the way.
        """
        from artflow.modes import native_resolution, redraw, text
        from artflow.modes.upscale import check_upscaler

        params, watch = self.parameters.job(text.TextParams, changes), watch or Watch()
        limits, enlarge = self.settings.server, partial(self._enlarge, watch)
        self.parameters.check_text(params)

        def work(run: Run) -> list[GeneratedImage]:
            check_size(params.width, params.height, multiple=run.runner.model.vae_scale, longest=limits.max_size)
            if params.hires_scale > 1:
                redraw.hires_size(params, run.runner, limits.max_hires)  # refused before anything is drawn
            drawn = native_resolution.drawn(params, run.runner.model.spec)
            orders = text.orders(drawn, run.runner, limits.max_size)
            if drawn is params:
                made = run(orders)
            else:
                check_upscaler(params.hires_upscaler)
                made = native_resolution.made_to_fit(orders, params, run, enlarge)
            if params.hires_scale > 1:
                made = redraw.enlarged(made, params, run, enlarge, limits.max_hires)
            return made

        return self._job(params, work, watch)

    def inpaint(
        self, picture: Picture, mask: Mask, changes: Mapping[str, Any], watch: Watch | None = None
    ) -> list[GeneratedImage]:
        """The picture with what the mask covers made anew (`artflow.modes.inpaint`); blocks as `generate` does.

        Raises:
            ArtflowError: bad parameters, ``empty_mask``, ``bad_mask``, ``busy``, ``hidden``.
        """
        from artflow.modes import inpaint

        params = self.parameters.job(inpaint.InpaintParams, changes)
        return self._job(params, lambda run: inpaint.make(picture, mask, params, run), watch or Watch())

    def outpaint(
        self, picture: Picture, changes: Mapping[str, Any], watch: Watch | None = None
    ) -> list[GeneratedImage]:
        """The picture carried on beyond its borders, in passes (`artflow.modes.outpaint`); blocks as `generate` does.

        Raises:
            ArtflowError: bad parameters, ``no_border``, ``picture_too_large``, ``busy``, ``hidden``.
        """
        from artflow.modes import outpaint

        params = self.parameters.job(outpaint.OutpaintParams, changes)
        size = Size(picture.shape[1], picture.shape[0])
        outpaint.check_borders(size, params.borders(size), max_pixels=self.settings.server.max_pixels)
        return self._job(params, lambda run: outpaint.make(picture, params, run), watch or Watch())

    def upscale(self, picture: Picture, changes: Mapping[str, Any], watch: Watch | None = None) -> list[GeneratedImage]:
        """The picture enlarged and, at a strength above 0, redrawn by the model in tiles; blocks as `generate` does.

        Raises:
            ArtflowError: bad parameters, ``picture_too_large``, ``unknown_upscaler``, ``not_installed``, ``busy``,
                ``hidden``.
        """
        from artflow.engine.job import GeneratedImage
        from artflow.modes import redraw

        params, watch = self.parameters.job(redraw.UpscaleParams, changes), watch or Watch()
        if params.strength > 0:
            self.parameters.check_job(params)
        larger = self._enlarge(watch, picture, params.factor, params.upscaler)
        if larger is None:
            return []
        if params.strength == 0:
            return [GeneratedImage(larger, {"mode": "upscale", "factor": params.factor, "upscaler": params.upscaler})]
        return self._job(params, lambda run: redraw.in_tiles(larger, params, run), watch)

    def _enlarge(self, watch: Watch, picture: Picture, factor: int, upscaler: str) -> Picture | None:
        from artflow.engine.job import JobProgress
        from artflow.modes.upscale import fetch, upscale

        state = Underway(f"Looking for {upscaler}")
        fetched = in_thread("download", lambda: fetch(upscaler, state.say))
        if not watch.wait_for(fetched, state):
            return None
        fetched.result()  # raises where it could not be had

        def progress(done: int, total: int) -> None:
            watch.on_progress(JobProgress(0, 1, done, total, doing="Enlarging, tile"))

        return upscale(picture, factor, upscaler, progress, watch.cancelled, device=self.device, run=self.on_device)

    def interrogate(self, picture: Picture, mode: str, model: str, watch: Watch | None = None) -> Answer | None:
        """What the picture shows, as a prompt and terms by group; `Interrogator.answer` says the rest."""
        return self.interrogator.answer(picture, mode, model, watch or Watch())

    def _spec(self, model_id: str) -> ModelSpec:
        return self.spec if model_id in ("", self.spec.id) else self.catalog.get(model_id)

    def _job(
        self, params: JobParams, work: Callable[[Run], list[GeneratedImage]], watch: Watch
    ) -> list[GeneratedImage]:
        """Load the model and do the work, if not too many wait already."""
        limits = self.settings.server
        with self._lock:
            if self._jobs >= limits.max_jobs:
                raise ArtflowError("busy", f"{limits.max_jobs} jobs wait already; try again in a moment.")
            self._jobs += 1
        try:
            from artflow.modes.work import Run

            with self.shelf.held(self._spec(params.model)) as loading:
                if not watch.wait_for(loading.runner, loading):
                    return []
                about = {"model": loading.spec.id} | about_prompt(params.prompt, self.settings.logging)
                return work(Run(self.engine, loading.runner.result(), watch.on_progress, watch.cancelled, about))
        finally:
            with self._lock:
                self._jobs -= 1

    def on_device(self, work: Callable[[], T]) -> T:
        """The result of a piece of work that computes outside of the engine, such as a tile's.

        A GPU belongs to the engine's thread, where live frames go in between two pieces. The cores of a CPU are shared
        out by the operating system, so there the caller's thread works, and live frames wait for nothing.
        """
        return work() if self.device == "cpu" else self.engine.run_on_engine_thread(work).result()

    def numbers(self) -> dict[str, Any]:
        """How busy the app is: sessions, jobs (all, and those with a picture begun), model calls, rows, and the GPU's
        memory in MB (None without one)."""
        engine = self.engine
        memory = None
        if self.device == "cuda":
            import torch

            memory = round(torch.cuda.memory_allocated() / 1e6)
        return {
            "sessions": engine.sessions,
            "jobs": self._jobs,
            "active_jobs": engine.active_jobs,
            "model_calls": engine.calls,
            "rows": engine.rows,
            "gpu_memory_mb": memory,
        }

    @property
    def healthy(self) -> bool:
        """Whether what is asked can be answered: the engine, once it has been started, runs."""
        return self._shelf is None or self._shelf.engine.alive

    def close(self) -> None:
        """End the engine and let go of the models."""
        with self._lock:
            shelf, self._shelf = self._shelf, None
        if shelf is not None:
            shelf.close()


@lru_cache(maxsize=1)
def get_pipeline() -> Pipeline:
    """The pipeline of this process, with the operator's settings.

    Raises:
        ArtflowError: ``bad_settings``, ``unknown_model``, ``bad_parameter``, ``bad_device``.
    """
    from artflow import log as logs

    settings = load_settings()
    logs.set_up(settings.logging)
    return Pipeline(settings)
