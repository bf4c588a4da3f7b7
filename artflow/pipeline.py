"""The one pipeline that every tab and route calls: models loaded once, sessions and jobs on one engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from artflow import log as logs
from artflow.admission import Places
from artflow.engine.client import EngineClient, start
from artflow.engine.job_request import GeneratedImage, JobProgress
from artflow.engine.params import LiveParams
from artflow.engine.second_pass import Part
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import OnBegun, Result, ignore_begun
from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size, check_size
from artflow.interrogator import Answer, Interrogator
from artflow.job_context import JobContext, in_thread
from artflow.models.catalog import Catalog, ModelSpec, load_catalog
from artflow.models.dtypes import pick_device, pick_dtype
from artflow.models.families.painter.any_picture import read_style
from artflow.models.info import ModelHandle, ModelInfo
from artflow.models.progress import LoadProgress
from artflow.modes import (
    hires,
    inpaint,
    learned_styles,
    native_resolution,
    outpaint,
    photo_outpaint,
    remove,
    routing,
    style_strip,
    text,
    tiled_img2img,
)
from artflow.modes.alpha import Alpha
from artflow.modes.inpaint import PaintParams
from artflow.modes.job_runner import JobRunner
from artflow.modes.masks import Mask, check_mask
from artflow.modes.remove import Filling
from artflow.modes.schema import merged
from artflow.modes.subject import subject_alpha
from artflow.modes.text import JobParams
from artflow.modes.upscale import check_upscaler, enlarged_size, fetch, upscale
from artflow.parameters import Parameters
from artflow.prompts.vocabulary import Vocabulary, load_vocabulary
from artflow.settings import Settings, load_settings

log = logging.getLogger(__name__)
T = TypeVar("T")

OnMoved = Callable[[ArtflowError | None], None]
"""Hears that a session is served by other models or at another size than before, or why it is not; from any thread, and
must not block."""


def ignore_move(error: ArtflowError | None) -> None:
    """For who does not want to know."""


LATENT = 8  # pixels a latent, of every Stable Diffusion


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
        limits = settings.server
        share = {"per_person": limits.jobs_per_person, "per_address": limits.jobs_per_address}
        self._jobs = Places(limits.max_jobs, **share)  # the model's load included
        self._learning = threading.Lock()
        self._client: EngineClient | None = None
        self._streams: WeakSet[LiveStream] = WeakSet()
        chosen = settings.model.model_id
        self.spec = self.catalog.default(self.device == "cuda") if chosen == "auto" else self.catalog.find(chosen)
        if settings.model.prediction_type != "auto":
            self.spec = self.spec.model_copy(update={"prediction_type": settings.model.prediction_type})
        self.interrogator = Interrogator(settings.interrogate, self.device, settings.model.dtype, self._errand)
        self.parameters = Parameters(settings, self.spec, self.catalog)
        self.parameters.check()

    @property
    def vocabulary(self) -> Vocabulary | None:
        """What the app's model knows, where it is limited to that."""
        return load_vocabulary(self.spec.source.folder)

    @property
    def live_choices(self) -> list[ModelSpec]:
        """The models that people may choose for live pictures: the app's own first."""
        return [self.spec, *(spec for spec in self.catalog.models if spec.id != self.spec.id)]

    @property
    def choices(self) -> list[ModelSpec]:
        """Those of them that make pictures out of nothing, too."""
        return [spec for spec in self.live_choices if spec.draws]

    # -- models -----------------------------------------------------------------------------------------------------

    @property
    def client(self) -> EngineClient:
        """The engine and its models, started on first use."""
        with self._lock:
            if self._client is None:
                self._client = start(self.settings.model, self.settings.safety, self.device, self.spec.id)
            return self._client

    def load(self, model_id: str = "") -> ModelHandle:
        """Begin to load a model of the catalog (empty: the app's own), or find it loaded. Never blocks.

        Where no more models fit, its ``info`` raises ``busy``.

        Raises:
            ArtflowError: ``unknown_model``.
        """
        return self.client.load(self._spec(model_id))

    def is_here(self, model_id: str) -> bool:
        """Whether a model (empty: the app's own) is loaded, or comes with the app or from a folder.

        Raises:
            ArtflowError: ``unknown_model``.
        """
        spec = self._spec(model_id)
        return spec.source.hub is None or (self._client is not None and self._client.has(spec.id))

    @property
    def loaded(self) -> list[str]:
        """The ids of the models in memory or on their way there."""
        return self._client.loaded if self._client is not None else []

    @property
    def notes(self) -> list[str]:
        """What people should know: each fallback, and why."""
        return self._client.notes if self._client is not None else []

    # -- live pictures ----------------------------------------------------------------------------------------------

    def load_for(self, mode: str) -> ModelHandle:
        """Begin to load the model that a live mode starts with, or find it loaded. Never blocks."""
        return self.client.load(routing.start(mode, self.spec, self.catalog))

    def open(
        self,
        mode: str,
        model: ModelInfo,
        changes: Mapping[str, Any],
        on_result: Callable[[Result], None],
        on_begun: OnBegun = ignore_begun,
    ) -> LiveStream:
        """A live session on a loaded model; it is served until its ``close``.

        Raises:
            ArtflowError: ``bad_parameter``, ``bad_size``, ``too_many_sessions``.
        """
        limits = self.settings.server
        if 0 < limits.max_queue_size <= self.sessions:
            raise ArtflowError(
                "too_many_sessions", f"All {limits.max_queue_size} places are taken; try again in a moment."
            )
        params = self.parameters.changed(self.parameters.live(mode, self._known(model.id)), changes)
        policy = self.parameters.modes[mode].policy
        session = self.client.open(model, params, policy, on_result, on_begun, max_size=limits.max_size)
        self._streams.add(session)
        log.info("a live session", extra={"session": session.id, "mode": mode, "model": model.id})
        return session

    def change(
        self, mode: str, session: LiveStream, changes: Mapping[str, Any], on_moved: OnMoved = ignore_move
    ) -> None:
        """Change settings of a live session. Where another model is to serve it from now on, it is loaded meanwhile,
        and the session goes on as it was until it is there; ``on_moved`` hears of that, or why it cannot be.

        Raises:
            ArtflowError: ``bad_parameter``, ``prompt_too_long``, ``bad_size`` ...; ``unknown_model``, or why that
                cannot be loaded. The old settings stay.
        """
        params = self.parameters.changed(session.params, changes)
        if params != session.params:
            self._apply(mode, session, params, changes, on_moved)

    def _apply(
        self, mode: str, session: LiveStream, params: LiveParams, changes: Mapping[str, Any], on_moved: OnMoved
    ) -> None:
        way = routing.route(mode, params, self.spec, self.catalog)
        handles = [self.client.load(spec) for spec in (way.spec, way.over) if spec is not None]
        if (waited_for := next((handle for handle in handles if not handle.info.done()), None)) is not None:
            before = session.params
            session.wait_for(params, waited_for)
            asked = session.params

            def loaded(done: Future[ModelInfo]) -> None:
                if session.closed or session.params != asked:  # something else is wanted by now
                    return
                try:
                    done.result()
                    self._apply(mode, session, asked, changes, on_moved)
                except ArtflowError as error:
                    session.wait_for(before, None)
                    on_moved(error)

            waited_for.info.add_done_callback(loaded)
            return
        first, *over = [handle.info.result() for handle in handles]
        now = self._known(session.model.id)
        if way.spec.id != now.id:
            unasked = self.parameters.moved(mode, params, now, way.spec)
            params = self.parameters.changed(unasked, changes)
        parts = [Part(first, params.model_copy(update={"prompt": way.prompt}))]
        if over:  # what is drawn is painted whole
            parts.append(Part(over[0], params.model_copy(update={"strength": 1.0, "steps": 1, "max_fps": 0})))
        before_it = session.served_by, session.sized.width, session.sized.height
        session.update(params, parts)
        if (session.served_by, session.sized.width, session.sized.height) != before_it:
            on_moved(None)

    def _known(self, model_id: str) -> ModelSpec:
        """What is known of a model that serves somebody; of one from elsewhere what is known of the app's own."""
        return next((spec for spec in self.catalog.models if spec.id == model_id), self.spec)

    @property
    def sessions(self) -> int:
        """Live sessions being served."""
        return sum(not session.closed for session in self._streams)

    # -- styles -----------------------------------------------------------------------------------------------------

    @property
    def painter(self) -> ModelSpec | None:
        """The model that paints in named styles, where the prompt can choose it."""
        return self.catalog.get(self.spec.styles_by) if self.spec.styles_by is not None else None

    def style_sheet(self, picture: Picture) -> style_strip.Sheet:
        """The picture in all of the painter's styles, small.

        Raises:
            ArtflowError: ``no_painter``.
        """
        sheet: style_strip.Sheet = self._errand(style_strip.painted, picture, self._painter_folder, self.device)
        return sheet

    @property
    def style_size(self) -> int:
        """The numbers of a style."""
        return style_strip.style_size_of(self._painter_folder)

    @property
    def _painter_folder(self) -> Path:
        folder = self.painter.source.folder if self.painter is not None else None
        if folder is None:
            raise ArtflowError("no_painter", f"{self.spec.title} leaves no styles to a painter.")
        return folder

    def read_style(self, picture: Picture) -> str:
        """The style of any picture, as the live parameter ``style_picture`` takes it.

        Raises:
            ArtflowError: ``picture_too_small``.
        """
        style: str = self._errand(read_style, picture, long=True)
        return style

    def learn_style(self, picture: Picture, name: str, context: JobContext | None = None) -> str:
        """Learn the style of a picture in minutes (`learned_styles.learn`); its id. One at a time.

        Raises:
            ArtflowError: ``no_painter``, ``busy``; ``bad_name``, ``name_taken``, ``bad_style``.
            Cancelled: before the next update.
        """
        context, folder = context or JobContext(), self._painter_folder
        if not self._learning.acquire(blocking=False):
            raise ArtflowError("busy", "Another style is being learned; one at a time, so try again in some minutes.")
        try:
            return learned_styles.learn(picture, name, folder, context)
        finally:
            self._learning.release()

    # -- pictures ---------------------------------------------------------------------------------------------------

    def generate(self, changes: Mapping[str, Any], context: JobContext | None = None) -> list[GeneratedImage]:
        """Text to pictures, enlarged and redrawn where Hires fix is asked for; blocks until they are made.

        Fewer come back when it is cancelled.

        Raises:
            ArtflowError: bad parameters, ``busy`` where too many wait, or what went wrong on the way.
        """
        params, context = self.parameters.job(text.TextParams, changes), context or JobContext()
        limits, enlarge = self.settings.server, partial(self._enlarge, context)
        self.parameters.check_text(params)
        # What cannot be is said before a model is fetched for it.
        check_size(params.width, params.height, multiple=LATENT, longest=limits.max_size)
        if params.hires_scale > 1:
            hires.hires_size(params, LATENT, limits.max_hires)

        def work(run: JobRunner) -> list[GeneratedImage]:
            check_size(params.width, params.height, multiple=run.model.vae_scale, longest=limits.max_size)
            drawn = native_resolution.drawn(params, run.model)
            specs = text.image_specs(drawn, run.model, limits.max_size)
            if drawn is params:
                made = [image for image in run(specs) if image is not None]
            else:
                check_upscaler(params.hires_upscaler)
                made = native_resolution.made_to_fit(specs, params, run, enlarge)
            if params.hires_scale > 1:
                made = hires.enlarged(made, params, run, enlarge, limits.max_hires)
            return made

        return self._job(params, work, context)

    def inpaint(
        self,
        picture: NDArray[np.uint8],
        mask: Mask,
        changes: Mapping[str, Any],
        context: JobContext | None = None,
        profile: bytes | None = None,
    ) -> list[GeneratedImage]:
        """The picture with what the mask covers made anew (`artflow.modes.inpaint`); blocks as `generate` does.

        Without a prompt the small embedded model leaves that to the network for photos, as `remove` does.
        ``picture`` has 3 or 4 channels and stays in the colours of ``profile`` (ICC; None: sRGB).

        Raises:
            ArtflowError: bad parameters, ``empty_mask``, ``bad_mask``, ``busy``, ``hidden``.
        """
        params = self.parameters.job(inpaint.InpaintParams, changes)
        self.parameters.check_job(params)
        check_mask(mask, picture)
        if self._for_photos(params):
            asked = {"feather": params.feather, "mask_edge": params.mask_edge}
            return self.remove(picture, mask, asked, context, profile)
        return self._job(params, lambda run: inpaint.make(picture, mask, params, run, profile), context or JobContext())

    def remove(
        self,
        picture: NDArray[np.uint8],
        mask: Mask,
        changes: Mapping[str, Any],
        context: JobContext | None = None,
        profile: bytes | None = None,
    ) -> list[GeneratedImage]:
        """The picture without what the mask covers (`artflow.modes.remove`); blocks as `generate` does.

        ``picture`` has 3 or 4 channels and stays in the colours of ``profile`` (ICC; None: sRGB).

        Raises:
            ArtflowError: bad parameters, ``empty_mask``, ``bad_mask``, ``busy``.
        """
        params = merged(remove.RemoveParams, changes)
        return self._filled(lambda filling: remove.make(picture, mask, params, filling, profile), context)

    def outpaint(
        self,
        picture: NDArray[np.uint8],
        changes: Mapping[str, Any],
        context: JobContext | None = None,
        profile: bytes | None = None,
    ) -> list[GeneratedImage]:
        """The picture carried on beyond its borders, in passes (`artflow.modes.outpaint`); blocks as `generate` does.

        Without a prompt the small embedded model leaves that to the network for photos, as `inpaint`.
        ``picture`` has 3 or 4 channels and stays in the colours of ``profile`` (ICC; None: sRGB).

        Raises:
            ArtflowError: bad parameters, ``no_border``, ``picture_too_large``, ``busy``, ``hidden``.
        """
        params = self.parameters.job(outpaint.OutpaintParams, changes)
        self.parameters.check_job(params)
        size = Size(picture.shape[1], picture.shape[0])
        outpaint.check_borders(size, params.borders(size), max_pixels=self.settings.server.max_pixels)
        if self._for_photos(params):
            return self._filled(lambda filling: photo_outpaint.make(picture, params, filling, profile), context)
        return self._job(params, lambda run: outpaint.make(picture, params, run, profile), context or JobContext())

    def upscale(
        self, picture: NDArray[np.uint8], changes: Mapping[str, Any], context: JobContext | None = None
    ) -> list[GeneratedImage]:
        """The picture enlarged and, at a strength above 0, redrawn by the model in tiles; blocks as `generate` does.

        It may have 4 channels, and comes back with as many.

        Raises:
            ArtflowError: bad parameters, ``picture_too_large``, ``unknown_upscaler``, ``not_installed``, ``busy``,
                ``hidden``.
        """
        params, context = self.parameters.job(tiled_img2img.UpscaleParams, changes), context or JobContext()
        if params.strength > 0:
            self.parameters.check_job(params)
        enlarged_size(picture, params.factor)
        larger = self._enlarge(context, picture, params.factor, params.upscaler)
        if larger is None:
            return []
        if params.strength == 0:
            return [GeneratedImage(larger, {"mode": "upscale", "factor": params.factor, "upscaler": params.upscaler})]
        return self._job(params, lambda run: tiled_img2img.in_tiles(larger, params, run), context)

    def subject(self, picture: Picture) -> Alpha:
        """How much of each pixel of a picture in sRGB is of its subject (`artflow.modes.subject`), 0 to 255.

        Raises:
            ArtflowError: ``no_subject``.
        """
        return subject_alpha(picture, self.device, self._errand)

    def _for_photos(self, params: PaintParams) -> bool:
        """Whether the network for photos does it better: nothing is asked for, and the model is small."""
        return not params.prompt.strip() and params.strength > 0 and self._spec(params.model).native_resolution_only

    def _filled(
        self, work: Callable[[Filling], list[GeneratedImage]], context: JobContext | None
    ) -> list[GeneratedImage]:
        context = context or JobContext()
        try:
            with self._jobs.place(context.who):
                return work(Filling(self.device, self._errand, context))
        except Cancelled:
            return []

    def _enlarge(
        self, context: JobContext, picture: NDArray[np.uint8], factor: int, upscaler: str
    ) -> NDArray[np.uint8] | None:
        state = LoadProgress(f"Looking for {upscaler}")
        fetched = in_thread("download", lambda: fetch(upscaler, state.say))
        if not context.wait_for(fetched, state):
            return None
        fetched.result()  # raises where it could not be had

        def progress(done: int, total: int) -> None:
            context.on_progress(JobProgress(0, 1, done, total, doing="Enlarging, tile"))

        return upscale(picture, factor, upscaler, progress, context.cancelled, device=self.device, errand=self._errand)

    def interrogate(self, picture: Picture, mode: str, model: str, context: JobContext | None = None) -> Answer | None:
        """What the picture shows, as a prompt and terms by group; `Interrogator.answer` says the rest."""
        return self.interrogator.answer(picture, mode, model, context or JobContext())

    def _spec(self, model_id: str) -> ModelSpec:
        return self.spec if model_id in ("", self.spec.id) else self.catalog.get(model_id)

    def _job(
        self, params: JobParams, work: Callable[[JobRunner], list[GeneratedImage]], context: JobContext
    ) -> list[GeneratedImage]:
        """Load the model and do the work, if not too many wait already; no pictures where it ends by a cancel.

        Raises:
            ArtflowError: ``busy``, ``too_many_jobs`` by this person or address, what goes wrong on the way.
        """
        try:
            with self._jobs.place(context.who), self.client.lease(self._spec(params.model)) as loading:
                if not context.wait_for(loading.info, loading):
                    return []
                about = {"model": loading.spec.id} | logs.about_prompt(params.prompt, self.settings.logging)
                return work(JobRunner(self.client, loading.info.result(), context, about))
        except Cancelled:
            return []

    def _errand(self, work: Callable[..., T], *values: Any, long: bool = False) -> T:
        return self.client.errand(work, *values, long=long)

    @property
    def threads(self) -> dict[str, dict[str, dict[int, int]]]:
        """CPU threads that calls use, by model, network and size (`ThreadPolicy.choices`)."""
        return self.client.threads

    def metrics(self) -> dict[str, Any]:
        """How busy the app is: `EngineClient.metrics`, and all jobs, also those that wait their turn."""
        return self.client.metrics() | {"sessions": self.sessions, "jobs": len(self._jobs)}

    @property
    def jobs(self) -> int:
        """Jobs that run or wait their turn."""
        return len(self._jobs)

    @property
    def healthy(self) -> bool:
        """Whether what is asked can be answered: the engine, once it has been started, runs, and the device answers."""
        return self._client is None or self._client.alive

    def close(self) -> None:
        """End the engine and let go of the models."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


@lru_cache(maxsize=1)
def get_pipeline() -> Pipeline:
    """The pipeline of this process, with the operator's settings.

    Raises:
        ArtflowError: ``bad_settings``, ``unknown_model``, ``bad_parameter``, ``bad_device``.
    """
    settings = load_settings()
    logs.set_up(settings.logging)
    return Pipeline(settings)
