"""The engine's own process: does what its `ProcessClient` asks, and tells it what becomes of it."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from artflow.engine.frame import Flow, Frame, Outcome
from artflow.engine.job_request import JobRequest
from artflow.engine.params import LiveParams
from artflow.engine.session import LiveSession
from artflow.engine.thread_client import ThreadClient
from artflow.engine.wire import Ring, Wire, check_portable
from artflow.errors import ArtflowError, inner_error
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelHandle
from artflow.settings import ModelSettings, ModelsSettings, SafetySettings

log = logging.getLogger("artflow.engine.process")  # whose own name is "__main__"

PROGRESS_EVERY, STATUS_EVERY = 0.2, 1.0  # seconds


class EngineProcess:
    """What the other process may call (`Wire.serve`): `start` first. Each answer is a call of `Replies`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._client: ThreadClient  # from `start` on
        self._telling = threading.Lock()
        self._sessions: dict[str, LiveSession] = {}
        self._loading: dict[int, ModelHandle] = {}  # not ready yet, by the key of who asked
        self._leases: dict[int, AbstractContextManager[ModelHandle]] = {}

    def start(
        self, settings: ModelSettings, safety: SafetySettings, device: str, own: str, files: ModelsSettings, level: int
    ) -> None:
        """Start the engine. ``level``: what is worth a line in the log."""
        log = logging.getLogger("artflow")
        log.setLevel(level)
        log.propagate = False
        log.addHandler(_LogSender(self._wire))
        self._client = ThreadClient(settings, safety, device, own, files)
        threading.Thread(target=self._report, name="status", daemon=True).start()

    def load(self, key: int, spec: ModelSpec) -> None:
        """Begin to load a model."""
        self._watch(key, self._client.load(spec))

    def lease(self, key: int, spec: ModelSpec) -> None:
        """The same; it stays until `release`."""
        lease = self._leases[key] = self._client.lease(spec)
        self._watch(key, lease.__enter__())

    def release(self, key: int) -> None:
        """End a lease."""
        if (lease := self._leases.pop(key, None)) is not None:
            lease.__exit__(None, None, None)

    def open(self, name: str, model: str, params: LiveParams, flow: Flow) -> None:
        """Begin a live session."""
        try:
            self._sessions[name] = self._client.session(model, params, flow, _Listener(self._wire, name), name)
        except ArtflowError as error:
            self._wire.send("not_opened", name, error)

    def put(self, name: str, frame: Frame) -> None:
        """A frame for a session."""
        if (session := self._sessions.get(name)) is not None:  # else its frames have been answered
            session.put(frame)

    def use(self, name: str, params: LiveParams) -> None:
        """Settings for a session."""
        if (session := self._sessions.get(name)) is not None:
            session.use(params)

    def skipped(self, name: str) -> None:
        """A session's person sees what they should."""
        if (session := self._sessions.get(name)) is not None:
            session.skipped()

    def end(self, name: str) -> None:
        """End a session."""
        if (session := self._sessions.pop(name, None)) is not None:
            session.close()

    def submit(self, request: JobRequest) -> None:
        """Begin a job."""
        name = request.id
        self._client.submit(request, lambda event: self._wire.send("event", name, event))

    def cancel(self, name: str) -> None:
        """End a job."""
        self._client.cancel(name)

    def errand(self, key: int, work: Callable[..., Any], values: tuple[Any, ...], long: bool) -> None:
        """Run a function, beside what else is asked."""

        def run() -> None:
            try:
                result = self._client.errand(work, *values, long=long)
                check_portable(result)  # the wire only logs what it cannot send
                self._wire.send("done", key, result)
            except Exception as error:  # noqa: BLE001 - raised again where somebody waits for it
                self._wire.send("failed", key, _portable(error))

        threading.Thread(target=run, name="errand", daemon=True).start()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _watch(self, key: int, handle: ModelHandle) -> None:
        self._loading[key] = handle
        self._tell_status()  # another model may have made room

        def ready(_: Any) -> None:
            del self._loading[key]
            self._tell_status()
            if (error := handle.info.exception()) is not None:
                self._wire.send("not_loaded", key, _portable(error))
            else:
                self._wire.send("loaded", key, handle.info.result())

        handle.info.add_done_callback(ready)

    def _report(self) -> None:
        told = 0.0
        while True:
            for key, handle in self._loading.copy().items():
                self._wire.send("loading", key, handle.message, handle.fraction)
            if time.monotonic() - told > STATUS_EVERY:
                told = time.monotonic()
                self._tell_status()
            time.sleep(PROGRESS_EVERY)

    def _tell_status(self) -> None:
        client = self._client
        with self._telling:  # an older state is never told after a newer one
            ready = [name for name in client.loaded if client.has(name)]
            self._wire.send(
                "status", client.loaded, ready, client.notes, client.threads, client.metrics(), client.alive
            )


class _Listener:
    """Tells the other process what becomes of a session's frames."""

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire, self._name = wire, name

    def begun(self, number: int, now: float, waited: float, idle: float) -> None:
        """See `Listener`."""
        self._wire.send("begun", self._name, number, now, waited, idle)

    def finished(self, outcome: Outcome) -> None:
        """See `Listener`."""
        self._wire.send("finished", self._name, outcome)


class _LogSender(logging.Handler):
    """Sends what is logged to the other process, which has the files."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, its error as text."""
        try:
            facts = record.__dict__ | {"msg": record.getMessage(), "args": None}
        except Exception:  # noqa: BLE001 - words and values that do not fit must not end what was logged about
            self.handleError(record)
            return
        if record.exc_info:
            facts |= {"exc_text": logging.Formatter().formatException(record.exc_info), "exc_info": None}
        self._wire.send("logged", facts)


def _portable(error: BaseException) -> BaseException:
    """An error as it can be raised in another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        log.error("an error that cannot be sent", exc_info=error)
        return inner_error(error)
    return error


def main() -> None:
    """Serve who has started this process, until that has gone. Arguments: the descriptors of connection and rings."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # some send it to all processes of a service at once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for who has started this
    connection, questions, answers = map(int, sys.argv[1:])
    for descriptor in (connection, answers, questions):
        os.set_inheritable(descriptor, False)  # a program started from here would keep the connection after our end
    wire = Wire(socket.socket(fileno=connection), Ring(answers), Ring(questions))
    wire.serve(EngineProcess(wire))
    os._exit(0)  # nobody is there any more for whom anything would have to be finished


if __name__ == "__main__":
    main()
