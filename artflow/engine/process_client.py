"""An engine in a process of its own: Python's lock is the engine's alone, and a crash ends no page.

What crosses are values (`wire.py`). When the process dies, people are told so, another one is started, models are
loaded again, and live sessions go on.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from artflow.engine.client import PLAIN, EngineClient
from artflow.engine.job_request import JobEnded, JobRequest, OnEvent
from artflow.engine.process_replies import RemoteSession, Replies, Status
from artflow.engine.second_pass import SecondPass
from artflow.engine.stream import LiveStream
from artflow.engine.wire import Ring, Wire, check_portable, shared_file
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelHandle
from artflow.settings import ModelSettings, ModelsSettings, SafetySettings

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_DEATHS, DEATH_SECONDS = 3, 120.0  # so many deaths in so many seconds, and it is not started again
SILENCE = 60.0  # seconds without a word after which it counts as hung; it says something every second
LAST_WORDS = 5.0  # seconds that it may take to end
CLOSED = ArtflowError("engine_closed", "The app is shutting down.")


class ProcessClient(EngineClient):
    """See `EngineClient`. What it knows of the engine without asking is a second old at most."""

    def __init__(
        self, settings: ModelSettings, safety: SafetySettings, device: str, own: str, files: ModelsSettings = PLAIN
    ) -> None:
        if not hasattr(socket, "AF_UNIX") or os.name == "nt":
            raise ArtflowError("bad_settings", "model.engine `process` needs Linux or macOS; use `thread`.")
        self._start_with = settings, safety, device, own, files
        self.lock = threading.RLock()
        self._keys = itertools.count()
        self._wire: Wire | None = None  # while a process runs
        self._process: subprocess.Popen[bytes] | None = None
        self.gone: ArtflowError | None = None  # why there will be none any more
        self._deaths: deque[float] = deque(maxlen=MOST_DEATHS)
        self.handles: dict[int, ModelHandle] = {}  # being loaded, by the key of who asked
        self._leases: set[int] = set()  # keys of those that were asked to stay
        self._found: dict[str, ModelHandle] = {}  # the last one that was asked for, by its model
        self._specs: dict[str, ModelSpec] = {}
        self.ready: set[str] = set()  # models in memory
        self.status = Status()
        self.served: dict[str, RemoteSession] = {}
        self.jobs: dict[str, OnEvent] = {}
        self.errands: dict[int, Future[Any]] = {}
        self._begin()
        self._keeper = threading.Thread(target=self._keep, name="engine process", daemon=True)
        self._keeper.start()

    # -- models -----------------------------------------------------------------------------------------------------

    def load(self, spec: ModelSpec) -> ModelHandle:
        """See `EngineClient`."""
        with self.lock:
            found = self._found.get(spec.id)
            if found is not None and (not found.info.done() or (not found.failed and spec.id in self.ready)):
                return found
            key, handle = self._ask_for(spec)
            self.send("load", key, spec)
            return handle

    @contextmanager
    def lease(self, spec: ModelSpec) -> Iterator[ModelHandle]:
        """See `EngineClient`."""
        with self.lock:
            key, handle = self._ask_for(spec)
            self._leases.add(key)
            self.send("lease", key, spec)
        try:
            yield handle
        finally:
            with self.lock:
                self._leases.discard(key)
                self.send("release", key)

    @property
    def loaded(self) -> list[str]:
        """See `EngineClient`."""
        return list(self.status.loaded)

    def has(self, model_id: str) -> bool:
        """See `EngineClient`."""
        return model_id in self.ready

    @property
    def notes(self) -> list[str]:
        """See `EngineClient`."""
        return list(self.status.notes)

    # -- pictures ---------------------------------------------------------------------------------------------------

    def _serve(self, stream: LiveStream | SecondPass) -> None:
        with self.lock:
            if self.gone is not None:
                raise self.gone.with_traceback(None)  # one for all: it would keep the frames of each raise
            session = self.served[stream.id] = RemoteSession(self, stream)
            stream.serve(session)
            self.open_session(session)

    def submit(self, request: JobRequest, on_event: OnEvent) -> None:
        """See `EngineClient`."""
        with self.lock:
            if (error := self._why_not()) is None:
                self.jobs[request.id] = on_event
                self.send("submit", request)
        if error is not None:
            on_event(JobEnded(error))

    def cancel(self, job_id: str) -> None:
        """See `EngineClient`."""
        self.send("cancel", job_id)

    def errand(self, work: Callable[..., T], *values: Any, long: bool = False) -> T:
        """See `EngineClient`."""
        check_portable((work, values))  # the wire only logs what it cannot send
        done: Future[T] = Future()
        with self.lock:
            if (error := self._why_not()) is not None:
                raise error.with_traceback(None)
            key = next(self._keys)
            self.errands[key] = done
            self.send("errand", key, work, values, long)
        return done.result()

    # -- the engine itself ------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> int:
        """See `EngineClient`."""
        return len(self.served)

    @property
    def alive(self) -> bool:
        """See `EngineClient`."""
        hangs = time.monotonic() - self.status.told > SILENCE
        return self.gone is None and self.status.device_answers and not hangs

    @property
    def threads(self) -> dict[str, dict[str, dict[int, int]]]:
        """See `EngineClient`."""
        return self.status.threads

    def metrics(self) -> dict[str, Any]:
        """See `EngineClient`."""
        return self.status.metrics | {"transport": "process", "sessions": len(self.served)}

    def close(self) -> None:
        """See `EngineClient`."""
        with self.lock:
            self.gone, wire = CLOSED, self._wire
        if wire is not None:
            wire.close()
        self._keeper.join(LAST_WORDS)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
            self._keeper.join()
        self._lose(CLOSED)

    # -- inside -----------------------------------------------------------------------------------------------------

    def send(self, name: str, *values: Any) -> None:
        with self.lock:
            if self._wire is not None:
                self._wire.send(name, *values)

    def _why_not(self) -> ArtflowError | None:
        """Why nothing can be asked just now."""
        if self.gone is None and self._wire is None:
            return ArtflowError("engine_stopped", "The engine is being started again; try again in a moment.")
        return self.gone

    def _ask_for(self, spec: ModelSpec) -> tuple[int, ModelHandle]:
        """A handle for a model, and the key that it is answered by; the lock is held."""
        key, handle = next(self._keys), ModelHandle(spec)
        self._specs[spec.id] = spec
        if self.gone is not None:
            handle.fail(self.gone)
        else:
            self.handles[key] = self._found[spec.id] = handle
        return key, handle

    def open_session(self, session: RemoteSession) -> None:
        """Begin a session in the process, once its model is there; the lock is held."""
        model = session.stream.model.id
        if session.running:  # whoever else asks for its model hears that it is there
            return
        if self._wire is not None and model in self.ready:
            session.begin()
        elif (found := self._found.get(model)) is None or found.info.done():
            self.load(self._specs[model])

    def _keep(self) -> None:
        """Hear what the process says, and start another one when it has died."""
        while True:
            wire, process = self._wire, self._process
            assert wire is not None and process is not None
            wire.serve(Replies(self))
            with self.lock:
                self._wire = None
            code = _ended(process)
            if self.gone is None:
                self._died(code)
            if self.gone is not None:
                return
            try:
                self._begin()
            except Exception as error:
                log.exception("the engine's process cannot be started again")
                sentence = f"The engine stopped and cannot be started again: {error}. The log says more."
                self.gone = ArtflowError("engine_stopped", sentence)
                self._lose(self.gone)
                return

    def _begin(self) -> None:
        """Start a process, and ask it for what people wait for.

        Raises:
            OSError: the system has no room for one.
        """
        wire, process = _started()
        wire.send("start", *self._start_with, logging.getLogger("artflow").getEffectiveLevel())
        with self.lock:
            self._wire, self._process = wire, process
            if self.gone is not None:  # `close` came while it started, and knows nothing of it
                wire.close()
            for key, handle in self.handles.items():
                self.send("lease" if key in self._leases else "load", key, handle.spec)
            for session in self.served.values():
                self.open_session(session)

    def _died(self, code: int) -> None:
        """Tell everybody, and what is to be done again."""
        names = {number.value: number.name for number in signal.Signals}  # not all have one
        how = f"by {names.get(-code, f'signal {-code}')}" if code < 0 else f"with code {code}"
        log.error("the engine's process has ended %s", how)
        self._deaths.append(time.monotonic())
        if len(self._deaths) == MOST_DEATHS and self._deaths[-1] - self._deaths[0] < DEATH_SECONDS:
            sentence = f"The engine stopped {MOST_DEATHS} times within {DEATH_SECONDS:g} s, the last time {how}."
            self.gone = ArtflowError("engine_stopped", f"{sentence} It is not started again; the log says more.")
            self._lose(self.gone)
            return
        sentence = f"The engine stopped ({how}) and is starting again; live pictures go on by themselves."
        self._lose(ArtflowError("engine_stopped", sentence))

    def _lose(self, error: ArtflowError) -> None:
        with self.lock:
            jobs, self.jobs = self.jobs, {}
            errands, self.errands = self.errands, {}
            self.status, self.ready, sessions = Status(), set(), list(self.served.values())
            handles: dict[int, ModelHandle] = {}
            if self.gone is not None:
                handles, self.handles = self.handles, {}
            for session in sessions:
                session.stopped()
        for on_event in jobs.values():
            on_event(JobEnded(error))
        for errand in errands.values():
            errand.set_exception(error)
        for handle in handles.values():
            handle.fail(error)
        for session in sessions:
            session.stream.lost(error)


def _started() -> tuple[Wire, subprocess.Popen[bytes]]:
    """A new process and the connection to it."""
    questions, answers = shared_file(), shared_file()
    mine, other = socket.socketpair()
    with questions, answers, other:
        descriptors = [other.fileno(), questions.fileno(), answers.fileno()]
        # Its parent's way to modules. `-m` of a module that needs no guard: a script would run once more.
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        # In a group of its own: Ctrl+C is for this process, also while that one starts.
        process = subprocess.Popen(
            [sys.executable, "-m", "artflow.engine.process", *map(str, descriptors)],
            pass_fds=descriptors, process_group=0, stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": paths},
        )  # fmt: skip
        return Wire(mine, Ring(questions.fileno()), Ring(answers.fileno())), process


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process whose connection has ended; one that hangs is killed."""
    try:
        return process.wait(LAST_WORDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
