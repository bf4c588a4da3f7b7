"""An engine in a thread of this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch

from artflow.engine.client import PLAIN, EngineClient
from artflow.engine.engine import Engine
from artflow.engine.frame import Flow, Listener
from artflow.engine.job import Job
from artflow.engine.job_request import JobEnded, JobRequest, OnEvent
from artflow.engine.model_pool import ModelPool
from artflow.engine.params import LiveParams
from artflow.engine.second_pass import SecondPass
from artflow.engine.session import LiveSession
from artflow.engine.stream import LiveStream
from artflow.engine.threads import with_threads
from artflow.engine.transfer import stream as stream_of
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelHandle
from artflow.settings import ModelSettings, ModelsSettings, SafetySettings

T = TypeVar("T")


class ThreadClient(EngineClient):
    """See `EngineClient`."""

    def __init__(
        self, settings: ModelSettings, safety: SafetySettings, device: str, own: str, files: ModelsSettings = PLAIN
    ) -> None:
        self._device = device
        if device == "cuda":
            torch.backends.cudnn.benchmark = True  # batches have few shapes, which are met while a model is loaded
            torch.set_float32_matmul_precision("high")  # TF32, for autoencoders that need float32's range
        self.engine = Engine(settings.max_batch, device)
        self.pool = ModelPool(settings, safety, device, self.engine, own, files)

    def load(self, spec: ModelSpec) -> ModelHandle:
        """See `EngineClient`."""
        return self.pool.load(spec)

    def lease(self, spec: ModelSpec) -> AbstractContextManager[ModelHandle]:
        """See `EngineClient`."""
        return self.pool.lease(spec)

    @property
    def loaded(self) -> list[str]:
        """See `EngineClient`."""
        return self.pool.loaded

    def has(self, model_id: str) -> bool:
        """See `EngineClient`."""
        return self.pool.has(model_id)

    @property
    def notes(self) -> list[str]:
        """See `EngineClient`."""
        return self.pool.notes

    def _serve(self, stream: LiveStream | SecondPass) -> None:
        self.engine.add(LiveSession.of(stream, self.pool.runner(stream.model.id)))

    def session(self, model: str, params: LiveParams, flow: Flow, listener: Listener, name: str) -> LiveSession:
        """A session of the engine for a stream of another process.

        Raises:
            ArtflowError: ``model_not_loaded``, ``engine_closed``.
        """
        session = LiveSession(self.pool.runner(model), params, flow, listener, name)
        self.engine.add(session)
        return session

    def submit(self, request: JobRequest, on_event: OnEvent) -> None:
        """See `EngineClient`."""
        try:
            self.engine.add(Job(request, self.pool.runner(request.model), on_event))
        except ArtflowError as error:
            on_event(JobEnded(error))

    def cancel(self, job_id: str) -> None:
        """See `EngineClient`."""
        self.engine.cancel(job_id)

    def errand(self, work: Callable[..., T], *values: Any, long: bool = False) -> T:
        """See `EngineClient`. The cores of a CPU are shared out by the operating system, so there a thread of the
        work's own computes, and live frames wait for nothing."""
        if self._device != "cpu" and not long:
            return self.engine.run_on_engine_thread(lambda: work(*values)).result()

        def beside() -> T:
            with stream_of(self._device):
                return with_threads(self.engine.spare_threads, lambda: work(*values))

        with ThreadPoolExecutor(1, thread_name_prefix="compute") as thread:
            return thread.submit(beside).result()

    @property
    def sessions(self) -> int:
        """See `EngineClient`."""
        return self.engine.sessions

    @property
    def alive(self) -> bool:
        """See `EngineClient`."""
        return self.engine.alive

    @property
    def threads(self) -> dict[str, dict[str, dict[int, int]]]:
        """See `EngineClient`."""
        return {name: runner.threads.choices for name, runner in self.pool.runners.items()}

    def metrics(self) -> dict[str, Any]:
        """See `EngineClient`."""
        memory = None
        if self._device == "cuda":
            memory = round(torch.cuda.memory_reserved() / 1e6)  # with what graphs hold
        engine = self.engine
        return {
            "transport": "thread",
            "sessions": engine.sessions,
            "active_jobs": engine.active_jobs,
            **{f"waiting_{kind}": count for kind, count in engine.waiting.items()},
            **engine.metrics.snapshot(),
            "starved": any(runner.threads.starved for runner in self.pool.runners.values()),
            "gpu_memory_mb": memory,
        }

    def close(self) -> None:
        """See `EngineClient`."""
        self.pool.clear()
        self.engine.close()
