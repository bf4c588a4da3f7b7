"""All that others see of the engine: values in, values out. Nothing above this imports what computes.

An engine is a thread of this process (`thread_client.py`) or a process of its own (`process_client.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from artflow.engine.job_request import JobRequest, OnEvent
from artflow.engine.params import LiveParams
from artflow.engine.second_pass import SecondPass
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import OnBegun, Result, StreamPolicy, ignore_begun
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelHandle, ModelInfo
from artflow.settings import ModelSettings, ModelsSettings, SafetySettings

T = TypeVar("T")
PLAIN = ModelsSettings()
"""What applies where nothing is said of it."""


class EngineClient(ABC):
    """An engine and its models. All methods are safe from any thread; only `errand` waits.

    Models and jobs go by their ids. What is asked of a model that has been evicted since is answered with
    ``model_not_loaded``; a `lease` keeps one.
    """

    # -- models -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def load(self, spec: ModelSpec) -> ModelHandle:
        """Begin to load a model, or find it loaded. Where no more models fit, its ``info`` raises ``busy``."""

    @abstractmethod
    def lease(self, spec: ModelSpec) -> AbstractContextManager[ModelHandle]:
        """The same; the model is not evicted while the context lasts."""

    @property
    @abstractmethod
    def loaded(self) -> list[str]:
        """The ids of the models in memory or on their way there."""

    @abstractmethod
    def has(self, model_id: str) -> bool:
        """Whether a model is in memory."""

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What people should know: each fallback, and why."""

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
        """A live session on a loaded model; it is served until its ``close``. See `LiveStream` for the callbacks.

        Raises:
            ArtflowError: ``bad_size``, ``bad_t_index_list``, ``engine_closed``; a thread: ``model_not_loaded``.
        """
        stream = LiveStream(model, params, policy, on_result, on_begun, max_size=max_size, attach=self._serve)
        self._serve(stream)
        return stream

    @abstractmethod
    def _serve(self, stream: LiveStream | SecondPass) -> None:
        """Give a stream, or its second pass, a session on its model."""

    @abstractmethod
    def submit(self, request: JobRequest, on_event: OnEvent) -> None:
        """Begin a job. ``on_event`` hears of it from another thread, and of its end at last; it must not block."""

    @abstractmethod
    def cancel(self, job_id: str) -> None:
        """End a job before its next step; nothing happens where there is none of this id any more."""

    @abstractmethod
    def errand(self, work: Callable[..., T], *values: Any, long: bool = False) -> T:
        """What ``work(*values)`` returns where the device is: something outside of the engine, such as a tile's.

        ``work`` is a function of a module, and it and the values can be pickled. A GPU belongs to the engine's thread,
        where live frames go in between two errands; a ``long`` one, such as reading weights, runs beside it.

        Raises:
            ArtflowError: ``engine_closed``, ``engine_stopped``, or whatever ``work`` raises.
        """

    # -- the engine itself ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def sessions(self) -> int:
        """Live sessions being served."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether the engine runs, or is being started again, and its device answers."""

    @property
    @abstractmethod
    def threads(self) -> dict[str, dict[str, dict[int, int]]]:
        """CPU threads that calls use, by model, network and size (`ThreadPolicy.choices`)."""

    @abstractmethod
    def metrics(self) -> dict[str, Any]:
        """transport (``thread`` or ``process``), sessions, active_jobs (those with a picture begun), frames and
        pictures that wait, `EngineMetrics.snapshot`, starved (other programs keep calls waiting for a CPU core), and
        gpu_memory_mb (None: no GPU)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the models and end the engine; what is unfinished fails with ``engine_closed``."""


def start(
    settings: ModelSettings, safety: SafetySettings, device: str, own: str, files: ModelsSettings = PLAIN
) -> EngineClient:
    """The engine that the settings ask for, on a device; ``own`` is the app's own model.

    ``auto``: a process of its own beside a GPU, whose kernels wait for Python otherwise; a thread on a CPU, where both
    compete for the same cores and a thread hands pictures over without a copy.
    """
    if settings.engine == "process" or (settings.engine == "auto" and device == "cuda"):
        from artflow.engine.process_client import ProcessClient

        return ProcessClient(settings, safety, device, own, files)
    from artflow.engine.thread_client import ThreadClient

    return ThreadClient(settings, safety, device, own, files)
