"""The one pipeline that every tab and route calls: models loaded once, sessions and jobs on one engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from artflow import log as logs
from artflow.admission import Places
from artflow.engine.client import EngineClient, start
from artflow.engine.control_unit import ControlPicture
from artflow.engine.job_request import GeneratedImage, JobProgress
from artflow.errors import ArtflowError, Cancelled
from artflow.images import Picture, Size, check_size, fit
from artflow.interrogator import Answer, Interrogator
from artflow.job_context import JobContext, in_thread
from artflow.live_sessions import LiveSessions
from artflow.loras.downloads import Downloads
from artflow.loras.library import Library
from artflow.loras.presets import load_presets
from artflow.models.catalog import Catalog, ModelSpec, load_catalog
from artflow.models.checkpoints import with_checkpoints
from artflow.models.control_catalog import check_kinds
from artflow.models.dtypes import pick_device, pick_dtype
from artflow.models.info import ModelHandle
from artflow.models.progress import LoadProgress
from artflow.modes import (
    hires,
    inpaint,
    native_resolution,
    outpaint,
    photo_outpaint,
    remove,
    text,
    tiled_img2img,
)
from artflow.modes.alpha import Alpha
from artflow.modes.control_maps import control_pictures
from artflow.modes.inpaint import PaintParams
from artflow.modes.job_runner import JobRunner
from artflow.modes.masks import Mask, check_mask
from artflow.modes.remove import Filling
from artflow.modes.schema import merged
from artflow.modes.subject import subject_alpha
from artflow.modes.text import JobParams
from artflow.modes.upscale import check_upscaler, enlarged_size, fetch, upscale
from artflow.painter_styles import PainterStyles
from artflow.parameters import Parameters
from artflow.prompts.vocabulary import Vocabulary, load_vocabulary
from artflow.settings import Settings, load_settings

log = logging.getLogger(__name__)
T = TypeVar("T")

LATENT = 8  # pixels a latent, of every Stable Diffusion


class Pipeline:
    """Holds the engine and the models; builds both on first use. All methods are safe from any thread.

    Making one checks the settings against the catalog and the modes, and loads nothing.
    """

    def __init__(self, settings: Settings, catalog: Catalog | None = None) -> None:
        self.settings = settings
        self.catalog = catalog or with_checkpoints(load_catalog())
        self.device = pick_device(settings.model.device)
        pick_dtype(settings.model.dtype, self.device)  # refused now, and not when somebody waits for a picture
        self._lock = threading.Lock()
        limits = settings.server
        share = {"per_person": limits.jobs_per_person, "per_address": limits.jobs_per_address}
        self._jobs = Places(limits.max_jobs, **share)  # the model's load included
        self._client: EngineClient | None = None
        chosen = settings.model.model_id
        self.spec = self.catalog.default(self.device == "cuda") if chosen == "auto" else self.catalog.find(chosen)
        if settings.model.prediction_type != "auto":
            self.spec = self.spec.model_copy(update={"prediction_type": settings.model.prediction_type})
        if settings.model.use_lcm_lora:
            if self.spec.id in self.catalog.ids:
                log.warning("use_lcm_lora does nothing here: the entry of %s in models.yaml says it", self.spec.id)
            else:
                self.spec = self.spec.with_lcm()
        self.interrogator = Interrogator(settings.interrogate, self.device, settings.model.dtype, self._errand)
        self.parameters = Parameters(settings, self.spec, self.catalog)
        self.parameters.check()
        self.live = LiveSessions(settings, self.spec, self.catalog, self.parameters, lambda: self.client)
        self.styles = PainterStyles(self.spec, self.catalog, self.device, self._errand)
        self.loras = Downloads(
            Library(settings.models.lora_dir, load_presets()), largest=settings.models.max_lora_bytes
        )

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
                self._client = start(
                    self.settings.model, self.settings.safety, self.device, self.spec.id, self.settings.models
                )
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

    # -- pictures ---------------------------------------------------------------------------------------------------

    def generate(
        self,
        changes: Mapping[str, Any],
        context: JobContext | None = None,
        control_picture: Picture | None = None,
    ) -> list[GeneratedImage]:
        """Text to pictures, enlarged and redrawn where Hires fix is asked for; blocks until they are made.

        ``control_picture``: what the controls' maps are made of, its centre where the aspect differs. Fewer come back
        when it is cancelled.

        Raises:
            ArtflowError: bad parameters, ``no_control_picture``, ``busy`` where too many wait, or what went wrong on
                the way.
        """
        params, context = self.parameters.job(text.TextParams, changes), context or JobContext()
        limits, enlarge = self.settings.server, partial(self._enlarge, context)
        self.parameters.check_text(params)
        if params.control and control_picture is None:
            sentence = f"The control {params.control[0].kind} needs a picture to make its map of; none was given."
            raise ArtflowError("no_control_picture", sentence)
        # What cannot be is said before a model is fetched for it.
        check_size(params.width, params.height, multiple=LATENT, longest=limits.max_size)
        if params.hires_scale > 1:
            hires.hires_size(params, LATENT, limits.max_hires)

        def work(run: JobRunner) -> list[GeneratedImage]:
            check_size(params.width, params.height, multiple=run.model.vae_scale, longest=limits.max_size)
            drawn = native_resolution.drawn(params, run.model)
            controls: tuple[ControlPicture, ...] = ()
            if control_picture is not None:
                controls = control_pictures(fit(control_picture, Size(drawn.width, drawn.height)), params.control)
            specs = text.image_specs(drawn, run.model, limits.max_size, controls)
            if drawn is params:
                made = [image for image in run(specs) if image is not None]
            else:
                check_upscaler(params.hires_upscaler)
                made = native_resolution.made_to_fit(specs, params, run, enlarge)
            if params.hires_scale > 1:
                made = hires.enlarged(made, params, run, enlarge, limits.max_hires, controls)
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
        return (
            not params.text.strip()
            and not params.lora_uses
            and params.strength > 0
            and self._spec(params.model).native_resolution_only
        )

    def _filled(
        self, work: Callable[[Filling], list[GeneratedImage]], context: JobContext | None
    ) -> list[GeneratedImage]:
        from artflow.models import migan

        context = context or JobContext()
        try:
            with self._jobs.place(context.who):
                self._errand(migan.load, self.device, long=True)
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
                model = loading.info.result()
                self.parameters.check_fit(params.lora_uses, model)
                check_kinds([unit.kind for unit in params.control], model.control_kinds, loading.spec.title)
                about = {"model": loading.spec.id} | logs.about_prompt(params.prompt, self.settings.logging)
                return work(JobRunner(self.client, model, context, about))
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
        return self.client.metrics() | {"sessions": self.live.count, "jobs": len(self._jobs)}

    @property
    def jobs(self) -> int:
        """Jobs that run or wait their turn."""
        return len(self._jobs)

    @property
    def healthy(self) -> bool:
        """Whether what is asked can be answered: the engine, once it has been started, runs, and the device answers."""
        return self._client is None or self._client.alive

    def close(self) -> None:
        """End the engine and the downloads, and let go of the models."""
        self.loras.close()
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
