"""The models in memory: loaded once, in threads of their own, and let go when others need the room."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from artflow import garbage
from artflow.errors import ArtflowError, inner_error
from artflow.models.catalog import ModelSpec
from artflow.models.dtypes import largest_batch, missed_gpu, pick_dtype
from artflow.models.info import ModelHandle
from artflow.prompts.reader import reader_of
from artflow.settings import ModelSettings, ModelsSettings, SafetySettings

if TYPE_CHECKING:
    from artflow.engine.engine import Engine
    from artflow.engine.runner import Runner
    from artflow.models.acceleration import Acceleration
    from artflow.models.safety import SafetyChecker

log = logging.getLogger(__name__)

# Two models may be loaded at once, and diffusers' modules import each other in circles: two threads on their way
# through those meet half-made modules.
IMPORTING = threading.Lock()


class PooledModel(ModelHandle):
    """A model of the pool, with what only the engine sees of it."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.runner: Runner | None = None  # before ``info`` is there
        self.acceleration: Acceleration | None = None
        self.holders = 0  # jobs that come back to it


class ModelPool:
    """At most ``max_loaded`` models for an engine. ``own`` is the app's own, the last to go."""

    def __init__(
        self,
        settings: ModelSettings,
        safety: SafetySettings,
        device: str,
        engine: Engine,
        own: str,
        files: ModelsSettings,
    ) -> None:
        self._engine = engine
        self._files = files
        self._settings = settings
        self._safety = safety
        self._device = device
        self._own = own
        self._lock = threading.Lock()
        self._models: dict[str, PooledModel] = {}
        self._checking = threading.Lock()
        self._checker: SafetyChecker | None = None  # one for all models

    def load(self, spec: ModelSpec) -> ModelHandle:
        """Begin to load a model, or find it loaded. Never blocks. Where no more fit, its ``info`` raises ``busy``."""
        with self._lock:
            return self._found(spec)

    @contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[ModelHandle]:
        """The same for a work of several rounds: the model stays while the context lasts."""
        with self._lock:
            loading = self._found(spec)
            loading.holders += 1
        try:
            yield loading
        finally:
            with self._lock:
                loading.holders -= 1

    def _found(self, spec: ModelSpec) -> PooledModel:
        """The lock is held."""
        loading = self._models.get(spec.id)
        if loading is None or loading.failed:
            loading = PooledModel(spec)
            try:
                tidy = self._make_room()
            except ArtflowError as error:
                loading.fail(error)
                return loading
            self._models[spec.id] = loading
            threading.Thread(target=self._load, args=(loading, tidy), name=f"load {spec.id}", daemon=True).start()
        return loading

    @property
    def loaded(self) -> list[str]:
        """The ids of the models in memory or on their way there."""
        with self._lock:
            return list(self._models)

    def has(self, model_id: str) -> bool:
        """Whether a model is in memory."""
        with self._lock:
            loading = self._models.get(model_id)
        return loading is not None and loading.runner is not None

    def runner(self, model_id: str) -> Runner:
        """What computes with a model in memory.

        Raises:
            ArtflowError: ``model_not_loaded``.
        """
        with self._lock:
            loading = self._models.get(model_id)
        if loading is None or loading.runner is None:
            raise ArtflowError("model_not_loaded", f"The model {model_id} has made room for another; try again.")
        return loading.runner

    def clear(self) -> None:
        """Let go of all models."""
        with self._lock:
            self._models = {}
        garbage.unfreeze()

    @property
    def runners(self) -> dict[str, Runner]:
        """The models in memory that are ready, by their ids."""
        with self._lock:
            return {name: one.runner for name, one in self._models.items() if one.runner is not None}

    @property
    def notes(self) -> list[str]:
        """What people should know: each fallback, and why."""
        with self._lock:
            accelerations = [loading.acceleration for loading in self._models.values()]
        notes = [problem] if (problem := missed_gpu(self._device)) else []
        notes += [note for runner in self.runners.values() for note in runner.model.notes]
        notes += [a.problem for a in accelerations if a is not None and a.problem]
        notes += [runner.graphs.problem for runner in self.runners.values() if runner.graphs and runner.graphs.problem]
        if self._settings.use_cuda_graph is True and self._device != "cuda":
            notes.append(f"use_cuda_graph needs a CUDA device; this one is {self._device}, so it is off.")
        return list(dict.fromkeys(notes))

    def _make_room(self) -> bool:
        """Let go of idle models, so that one more fits; whether any was. The lock is held."""
        before = len(self._models)
        self._models = {name: other for name, other in self._models.items() if not other.failed}
        for name in sorted(self._models, key=lambda name: name == self._own):  # the app's own goes last
            if len(self._models) < self._settings.max_loaded:
                break
            loading = self._models[name]
            idle = loading.holders == 0 and loading.info.done()
            if idle and (loading.runner is None or not self._engine.uses(loading.runner)):
                del self._models[name]
        if len(self._models) >= self._settings.max_loaded:
            raise ArtflowError("busy", f"{len(self._models)} models are in use already; try again in a moment.")
        return len(self._models) < before

    def _load(self, loading: PooledModel, tidy: bool) -> None:
        from artflow.engine.threads import with_threads
        from artflow.engine.transfer import empty_cache, stream

        try:
            if tidy:  # packed and compiled modules hold themselves in circles, and their memory is wanted now
                garbage.collect_frozen()
                empty_cache(self._device)
            # Beside live people: in one thread, and on a GPU in a stream of its own.
            with stream(self._device):
                runner = with_threads(1, lambda: self.make_runner(loading))
                with_threads(1, lambda: runner.warm_up(self._settings.warmup))
            garbage.freeze()
            loading.runner = runner
            loading.info.set_result(runner.model.info)
        except Exception as error:
            if not isinstance(error, ArtflowError):
                log.error("a model could not be loaded", exc_info=error)
                sentence = f"{loading.spec.title} could not be loaded: {inner_error(error).message}"
                error = ArtflowError("model_load_failed", sentence)
            loading.fail(error)

    def make_runner(self, loading: PooledModel) -> Runner:
        """A model read from where its spec says, accelerated; slow."""
        with IMPORTING:
            from artflow.engine.runner import Runner
            from artflow.models.acceleration import accelerate
            from artflow.models.loader import load_model
            from artflow.models.packing import pack

        wanted, checker = self._settings, self._safety_checker(loading)
        model = load_model(
            loading.spec,
            device=self._device,
            dtype=pick_dtype(wanted.dtype, self._device),
            use_tiny_vae=wanted.use_tiny_vae,
            on_progress=loading.say,
        )
        model.lora_folder, model.lora_budget = self._files.lora_dir, self._files.lora_memory_mb * 10**6
        acceleration = accelerate(model, wanted.acceleration, wanted.engine_dir)
        if acceleration.active == "none":
            pack(model)
        graphs = self._device == "cuda" and wanted.use_cuda_graph in (True, "auto")
        if wanted.use_cuda_graph == "auto":
            graphs = graphs and acceleration.active == "none"
        if wanted.use_cuda_graph is True and not graphs:
            log.warning("use_cuda_graph is off: it needs a CUDA device")
        loading.acceleration = acceleration
        return Runner(
            model,
            max_batch=largest_batch(wanted.max_batch, self._device),
            fixed_batches=lambda: acceleration.fixed_batches,
            use_cuda_graph=graphs,
            reader=reader_of(loading.spec),
            checker=checker,
        )

    def _safety_checker(self, loading: PooledModel) -> SafetyChecker | None:
        """What looks at every picture, loaded before the first model: where it is wanted, nothing is made without."""
        from artflow.models.safety import load_checker

        if not self._safety.check:
            return None
        with self._checking:
            if self._checker is None:
                chosen = self._safety.model_id
                self._checker = load_checker(
                    folder if (folder := Path(chosen).expanduser()).is_dir() else chosen,
                    device=self._device,
                    dtype=pick_dtype(self._settings.dtype, self._device),
                    on_progress=loading.say,
                )
            return self._checker
