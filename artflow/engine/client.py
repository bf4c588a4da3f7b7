"""All that others see of the engine: values in, values out. Nothing above this imports what computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from artflow.engine.job_request import JobRequest, OnEvent
from artflow.engine.params import LiveParams
from artflow.engine.stream_policy import OnBegun, Result, StreamPolicy, ignore_begun
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelHandle, ModelInfo
from artflow.settings import ModelSettings, SafetySettings

T = TypeVar("T")


class StreamMetrics(Protocol):
    """The numbers of one live stream."""

    def snapshot(self) -> dict[str, Any]:
        """fps, latency_ms_p50 and latency_ms_p95 (None before the first picture), frames, dropped, skipped."""


class LiveStream(Protocol):
    """A live session, as its person's connection sees it. Safe from any thread."""

    id: str
    policy: StreamPolicy

    @property
    def metrics(self) -> StreamMetrics:
        """Its live numbers."""

    @property
    def params(self) -> LiveParams:
        """What the next frame will be made with."""

    @property
    def stage(self) -> str:
        """What the session gives up under load just now; ``full``: nothing."""

    @property
    def waiting(self) -> int:
        """Frames that have come and are not begun."""

    @property
    def depth(self) -> int:
        """Frames that must come in before the first of them is shown."""

    @property
    def greatest_depth(self) -> int:
        """What `depth` can become by other settings."""

    def update(self, params: LiveParams) -> None:
        """Use these settings from the next frame on; raises `ArtflowError` if they are not possible."""

    def submit(self, picture: NDArray[np.uint8], number: int | None = None, received: float | None = None) -> int:
        """Hand in a frame that arrived at ``received`` (monotonic seconds; None: now); returns its number.

        Raises `ArtflowError` for one that cannot be worked with.
        """

    def discard(self, number: int, received: float) -> None:
        """Count and answer a frame that a newer one replaced before it was handed in."""

    def delivered(self, seconds: float) -> None:
        """Note how long a picture took from the engine to its person."""

    def repeat(self) -> bool:
        """Answer the last frame once more, because the settings have changed; False where nothing has to be done."""

    def close(self) -> None:
        """End the session: what waits and what is on its way is let go."""


class EngineClient:
    """An engine in a thread of this process, and its models. All methods are safe from any thread.

    Models and jobs go by their ids. What is asked of a model that has been evicted since raises ``model_not_loaded``;
    a `lease` keeps one.
    """

    def __init__(self, settings: ModelSettings, safety: SafetySettings, device: str, own: str) -> None:
        from artflow.engine.engine import Engine
        from artflow.engine.model_pool import ModelPool

        self._device = device
        if device == "cuda":
            import torch

            torch.backends.cudnn.benchmark = True  # batches have few shapes, which are met while a model is loaded
            torch.set_float32_matmul_precision("high")  # TF32, for autoencoders that need float32's range
        self.engine = Engine(settings.max_batch, device)
        self.pool = ModelPool(settings, safety, device, self.engine, own)

    # -- models -----------------------------------------------------------------------------------------------------

    def load(self, spec: ModelSpec) -> ModelHandle:
        """Begin to load a model, or find it loaded. Never blocks.

        Raises:
            ArtflowError: ``busy`` where no more models fit.
        """
        return self.pool.load(spec)

    def lease(self, spec: ModelSpec) -> AbstractContextManager[ModelHandle]:
        """Load a model, or find it loaded; it is not evicted while the context lasts.

        Raises:
            ArtflowError: ``busy`` where no more models fit.
        """
        return self.pool.lease(spec)

    def has(self, model_id: str) -> bool:
        """Whether a model is in memory."""
        return self.pool.has(model_id)

    @property
    def loaded(self) -> list[str]:
        """The ids of the models in memory or on their way there."""
        return self.pool.loaded

    @property
    def notes(self) -> list[str]:
        """What people should know: each fallback, and why."""
        return self.pool.notes

    # -- pictures ---------------------------------------------------------------------------------------------------

    def open(
        self,
        model: ModelInfo,
        params: LiveParams,
        policy: StreamPolicy,
        on_result: Callable[[Result], None],
        on_begun: OnBegun = ignore_begun,
        *,
        max_size: int,
    ) -> LiveStream:
        """A live session on a loaded model; it is served until its ``close``.

        ``on_result`` hears once of every frame whose fate is decided before that, from another thread; ``on_begun``
        hears of each frame that is begun. They must not block.

        Raises:
            ArtflowError: ``bad_size``, ``bad_parameter``, ``model_not_loaded``, ``engine_closed``.
        """
        from artflow.engine.session import LiveSession

        session = LiveSession(self.pool.runner(model.id), params, policy, on_result, on_begun, max_size=max_size)
        self.engine.add(session)
        return session

    def submit(self, request: JobRequest, on_event: OnEvent) -> None:
        """Begin a job. ``on_event`` hears of it from another thread, and of its end at last; it must not block.

        Raises:
            ArtflowError: ``model_not_loaded``, ``engine_closed``.
        """
        from artflow.engine.job import Job

        self.engine.add(Job(request, self.pool.runner(request.model), on_event))

    def cancel(self, job_id: str) -> None:
        """End a job before its next step; nothing happens where there is none of this id any more."""
        self.engine.cancel(job_id)

    def on_device(self, work: Callable[[], T]) -> T:
        """The result of a piece of work that computes outside of the engine, such as a tile's.

        A GPU belongs to the engine's thread, where live frames go in between two pieces. The cores of a CPU are shared
        out by the operating system, so there a thread of the work's own computes, and live frames wait for nothing.
        """
        if self._device != "cpu":
            return self.engine.run_on_engine_thread(work).result()
        from artflow.engine.threads import with_threads

        with ThreadPoolExecutor(1, thread_name_prefix="compute") as thread:
            return thread.submit(with_threads, self.engine.spare_threads, work).result()

    # -- the engine itself ------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> int:
        """Live sessions being served."""
        return self.engine.sessions

    @property
    def alive(self) -> bool:
        """Whether the engine runs and its device answers."""
        return self.engine.alive

    @property
    def threads(self) -> dict[str, dict[str, dict[int, int]]]:
        """CPU threads that calls use, by model, network and size (`ThreadPolicy.choices`)."""
        return {name: runner.threads.choices for name, runner in self.pool.runners.items()}

    def metrics(self) -> dict[str, Any]:
        """sessions, active_jobs (those with a picture begun), frames and pictures that wait, `EngineMetrics.snapshot`,
        starved (other programs keep calls waiting for a CPU core), and gpu_memory_mb (None: no GPU)."""
        memory = None
        if self._device == "cuda":
            import torch

            memory = round(torch.cuda.memory_reserved() / 1e6)  # with what graphs hold
        engine = self.engine
        return {
            "sessions": engine.sessions,
            "active_jobs": engine.active_jobs,
            **{f"waiting_{kind}": count for kind, count in engine.waiting.items()},
            **engine.metrics.snapshot(),
            "starved": any(runner.threads.starved for runner in self.pool.runners.values()),
            "gpu_memory_mb": memory,
        }

    def close(self) -> None:
        """Let go of the models and end the engine; what is unfinished fails with ``engine_closed``."""
        self.pool.clear()
        self.engine.close()
