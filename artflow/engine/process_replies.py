"""What the engine's own process says, as it reaches the people of this one (`process_client.py`)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artflow.engine.engine_metrics import EngineMetrics
from artflow.engine.frame import Frame, Outcome
from artflow.engine.job_request import JobEnded, JobEvent
from artflow.engine.params import LiveParams
from artflow.engine.second_pass import SecondPass
from artflow.engine.stream import LiveStream
from artflow.errors import ArtflowError
from artflow.models.info import ModelInfo

if TYPE_CHECKING:
    from artflow.engine.process_client import ProcessClient

NOTHING_YET = {"active_jobs": 0, "waiting_live": 0, "waiting_job": 0, "starved": False, "gpu_memory_mb": None}


@dataclass(frozen=True)
class Status:
    """How the process is, a second ago at most: see the properties of `EngineClient`."""

    loaded: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    threads: dict[str, dict[str, dict[int, int]]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=lambda: NOTHING_YET | EngineMetrics().snapshot())
    device_answers: bool = True
    told: float = float("inf")
    """When it was said (monotonic seconds); before the first time there is nothing to wait for."""


class RemoteSession:
    """A live session of the process (see `Session`); while there is none, what comes in is kept for the next."""

    def __init__(self, client: ProcessClient, stream: LiveStream | SecondPass) -> None:
        self.stream = stream
        self._client = client
        self.running = False
        self._kept: list[Frame] = []

    def begin(self) -> None:
        """Open it in the process, which has its model; the client's lock is held."""
        stream, send = self.stream, self._client.send
        send("open", stream.id, stream.model.id, stream.sized, stream.policy.flow)
        for frame in self._kept:
            send("put", stream.id, frame)
        self._kept, self.running = [], True

    def stopped(self) -> None:
        """The process has died; the client's lock is held."""
        self._kept, self.running = [], False

    def put(self, frame: Frame) -> None:
        """See `Session`."""
        with self._client.lock:
            if self.running:
                self._client.send("put", self.stream.id, frame)
                return
            if self.stream.closed:  # it would begin again, and nobody would end it
                return
            if (gone := self._client.gone) is not None:
                told = [Outcome(frame.number, error=gone)]
            else:
                told = [Outcome(old.number, dropped=True) for old in self._kept if self.stream.policy.latest_only]
                self._kept = [*self._kept[len(told) :], frame]
                self._client.open_session(self)
        for outcome in told:
            self.stream.finished(outcome)

    def use(self, params: LiveParams) -> None:
        """See `Session`."""
        self._tell("use", params)

    def skipped(self) -> None:
        """See `Session`."""
        self._tell("skipped")

    def close(self) -> None:
        """See `Session`."""
        with self._client.lock:
            self._client.served.pop(self.stream.id, None)
            self._tell("end")

    def _tell(self, name: str, *values: Any) -> None:
        with self._client.lock:
            if self.running:
                self._client.send(name, self.stream.id, *values)


class Replies:
    """What the process may call (`Wire.serve`)."""

    def __init__(self, client: ProcessClient) -> None:
        self._client = client

    def status(
        self,
        loaded: list[str],
        ready: list[str],
        notes: list[str],
        threads: Any,
        metrics: dict[str, Any],
        answers: bool,
    ) -> None:
        """How it is, every second and whenever its models change."""
        self._client.ready = set(ready)
        self._client.status = Status(loaded, notes, threads, metrics, answers, time.monotonic())

    def loading(self, key: int, message: str, fraction: float | None) -> None:
        """How far a load is."""
        if (handle := self._client.handles.get(key)) is not None:
            handle.say(message, fraction)

    def loaded(self, key: int, info: ModelInfo) -> None:
        """A model is ready."""
        client = self._client
        with client.lock:
            client.ready.add(info.id)
            handle = client.handles.pop(key)
            for session in client.served.values():
                if session.stream.model.id == info.id:
                    client.open_session(session)
        handle.info.set_result(info)

    def not_loaded(self, key: int, error: ArtflowError) -> None:
        """A model is not to be had; who was live on it is told with each frame, each of which tries again."""
        client = self._client
        with client.lock:
            handle = client.handles.pop(key)
            waiting = [s for s in client.served.values() if s.stream.model.id == handle.spec.id and not s.running]
            for session in waiting:
                session.stopped()
        handle.fail(error)
        for session in waiting:
            session.stream.lost(error)

    def not_opened(self, name: str, error: ArtflowError) -> None:
        """The model of a session has made room meanwhile; who was live is told, and the next frame asks for it."""
        client = self._client
        with client.lock:
            if (session := client.served.get(name)) is None:
                return
            client.ready.discard(session.stream.model.id)
            session.stopped()
        session.stream.lost(error)

    def begun(self, name: str, number: int, now: float, waited: float, idle: float) -> None:
        """A session's frame is begun."""
        if (session := self._client.served.get(name)) is not None:
            session.stream.begun(number, now, waited, idle)

    def finished(self, name: str, outcome: Outcome) -> None:
        """The fate of a session's frame."""
        if (session := self._client.served.get(name)) is not None:
            session.stream.finished(outcome)

    def event(self, name: str, event: JobEvent) -> None:
        """News of a job."""
        ended = isinstance(event, JobEnded)
        jobs = self._client.jobs
        if (on_event := jobs.pop(name, None) if ended else jobs.get(name)) is not None:
            on_event(event)

    def done(self, key: int, result: Any) -> None:
        """An errand's result."""
        self._client.errands.pop(key).set_result(result)

    def failed(self, key: int, error: BaseException) -> None:
        """An errand's error."""
        self._client.errands.pop(key).set_exception(error)

    def logged(self, facts: dict[str, Any]) -> None:
        """What it logs goes where ours does."""
        record = logging.makeLogRecord(facts)
        logging.getLogger(record.name).handle(record)
