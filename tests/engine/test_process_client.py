"""The side of the engine's own process that people are on, with a process that only does what a test says."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from artflow.engine import process_client
from artflow.engine.frame import Frame
from artflow.engine.params import LiveParams
from artflow.engine.process_client import ProcessClient
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import Result
from artflow.engine.wire import Ring, Wire, shared_file
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelInfo
from artflow.settings import ModelSettings, SafetySettings
from tests.support.live import DRAWING, PATIENCE, SIDE, noisy

SPEC = ModelSpec(id="some", source={"folder": "/nowhere"}, width=SIDE, height=SIDE)
MODEL = ModelInfo("some", SIDE, SIDE, 8, False, False, "lcm", 1000, None)


class Child:
    """The other end of a client's connection: keeps what is asked, and says what a test wants."""

    def __init__(self) -> None:
        with shared_file() as questions, shared_file() as answers:
            mine, self._end = socket.socketpair()
            self.wire = Wire(mine, Ring(questions.fileno()), Ring(answers.fileno()))
            self._wire = Wire(self._end, Ring(answers.fileno()), Ring(questions.fileno()))
        self.asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.say = self._wire.send
        self._code = 0
        self._thread = threading.Thread(target=self._wire.serve, args=(self,), daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values: self.asked.put((name, *values))

    def next(self, *names: str) -> tuple[Any, ...]:
        """The next thing that is asked; it must be one of these."""
        asked = self.asked.get(timeout=PATIENCE)
        assert asked[0] in names, asked
        return asked

    def serve_model(self) -> None:
        """Load the model, as it is asked to."""
        asked = self.next("load", "lease")
        self.say("loaded", asked[1], MODEL)

    def kill(self) -> None:
        """End as a process does that the system kills."""
        self._code = -9
        self._end.shutdown(socket.SHUT_RDWR)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code."""
        return self._code


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> queue.SimpleQueue[Child]:
    """What is started in place of processes."""
    started: queue.SimpleQueue[Child] = queue.SimpleQueue()

    def start() -> tuple[Wire, Child]:
        child = Child()
        started.put(child)
        return child.wire, child

    monkeypatch.setattr(process_client, "_started", start)
    return started


@pytest.fixture
def client(children: queue.SimpleQueue[Child]) -> Iterator[ProcessClient]:
    client = ProcessClient(ModelSettings(), SafetySettings(), "cpu", "some")
    yield client
    client.close()


@pytest.fixture
def child(client: ProcessClient, children: queue.SimpleQueue[Child]) -> Child:
    """The first process, which has the model."""
    child = children.get(timeout=PATIENCE)
    child.next("start")
    loading = client.load(SPEC)
    child.serve_model()
    assert loading.info.result(PATIENCE) == MODEL
    return child


Results = queue.SimpleQueue[Result]


def opened(client: ProcessClient) -> tuple[LiveStream, Results]:
    results: Results = queue.SimpleQueue()
    return client.open(MODEL, LiveParams(width=SIDE, height=SIDE), DRAWING, results.put, max_size=1024), results


def test_a_job_on_a_model_leaves_its_live_sessions_alone(client: ProcessClient, child: Child) -> None:
    """They would be opened a second time, and the first would never end."""
    stream, _ = opened(client)
    child.next("open")
    with client.lease(SPEC) as loading:
        child.serve_model()
        assert loading.info.result(PATIENCE) == MODEL
    child.next("release")
    stream.submit(noisy(1))
    child.next("put")


def test_a_frame_behind_the_end_of_its_session_begins_no_other(client: ProcessClient, child: Child) -> None:
    stream, _ = opened(client)
    child.next("open")
    session = client.served[stream.id]
    session.stopped()
    stream.close()
    session.put(Frame(0, noisy(0), 0.0))
    client.cancel("the next question")
    child.next("cancel")
