"""The side of the engine's own process that people are on, with a process that only does what a test says."""

from __future__ import annotations

import contextlib
import logging
import pickle
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from artflow.engine import process_client
from artflow.engine.frame import Frame
from artflow.engine.params import LiveParams
from artflow.engine.process import EngineProcess, _LogSender
from artflow.engine.process_client import ProcessClient
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import Result
from artflow.engine.wire import Ring, Wire, shared_file
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelInfo
from artflow.settings import ModelSettings, SafetySettings
from tests.support.live import DRAWING, PATIENCE, SIDE, noisy, wait_until

SPEC = ModelSpec(id="some", source={"folder": "/nowhere"}, width=SIDE, height=SIDE)
MODEL = ModelInfo("some", SIDE, SIDE, 8, False, False, "lcm", 1000, False, None)


class Child:
    """The other end of a client's connection: keeps what is asked, and says what a test wants."""

    def __init__(self) -> None:
        with shared_file() as questions, shared_file() as answers:
            mine, self._end = socket.socketpair()
            self.wire = Wire(mine, Ring(questions.fileno()), Ring(answers.fileno()))
            self._wire = Wire(self._end, Ring(answers.fileno()), Ring(questions.fileno()))
        self.asked: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self.say = self._wire.send
        self.code = 0
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

    def kill(self, by: int = signal.SIGKILL) -> None:
        """End as a process does that the system kills."""
        self.code = -by
        with contextlib.suppress(OSError):  # it has ended
            self._end.shutdown(socket.SHUT_RDWR)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code."""
        return self.code


Children = queue.SimpleQueue[Child]


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    """What is started in place of processes."""
    started: Children = queue.SimpleQueue()

    def start() -> tuple[Wire, Child]:
        child = Child()
        started.put(child)
        return child.wire, child

    monkeypatch.setattr(process_client, "_started", start)
    return started


@pytest.fixture
def client(children: Children) -> Iterator[ProcessClient]:
    client = ProcessClient(ModelSettings(), SafetySettings(), "cpu", "some")
    yield client
    client.close()


@pytest.fixture
def child(client: ProcessClient, children: Children) -> Child:
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


def test_one_that_says_nothing_any_more_is_not_healthy(
    client: ProcessClient, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.alive  # it starts, which may take long
    child.say("status", [], [], [], {}, client.status.metrics, True)
    wait_until(lambda: client.status.told < float("inf"))
    assert client.alive
    monkeypatch.setattr(process_client, "SILENCE", -1.0)
    assert not client.alive


def test_a_frame_behind_the_end_of_its_session_begins_no_other(client: ProcessClient, child: Child) -> None:
    stream, _ = opened(client)
    child.next("open")
    session = client.served[stream.id]
    session.stopped()
    stream.close()
    session.put(Frame(0, noisy(0), 0.0))
    client.cancel("the next question")
    child.next("cancel")


def test_a_model_that_made_room_before_its_session_came_is_asked_for_again(client: ProcessClient, child: Child) -> None:
    stream, results = opened(client)
    child.next("open")
    stream.submit(noisy(1))
    child.next("put")
    child.say("not_opened", stream.id, ArtflowError("model_not_loaded", "It has made room."))
    told = results.get(timeout=PATIENCE)
    assert told.error is not None and told.error.code == "model_not_loaded"
    stream.submit(noisy(2))
    child.serve_model()
    child.next("open")
    child.next("put")
    assert results.empty()


def test_frames_are_answered_when_there_will_be_no_process_any_more(
    client: ProcessClient, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room() -> None:
        raise OSError("no room for a process")

    monkeypatch.setattr(process_client, "_started", no_room)
    loading = client.load(ModelSpec(id="slow", source={"folder": "/nowhere"}))
    stream, results = opened(client)
    stream.submit(noisy(1))
    child.kill(by=40)  # a signal that has no name
    told = results.get(timeout=PATIENCE)
    assert told.error is not None and told.error.code == "engine_stopped" and "by signal 40" in told.error.message
    assert isinstance(loading.info.exception(PATIENCE), ArtflowError)
    with pytest.raises(ArtflowError, match="no room for a process"):
        client.load(ModelSpec(id="other", source={"folder": "/nowhere"})).info.result(PATIENCE)
    assert not client.alive
    stream.submit(noisy(2))
    told = results.get(timeout=PATIENCE)
    assert told.frame == 1 and told.error is not None and "no room for a process" in told.error.message
    client.close()  # everybody has been told


def test_who_waits_for_a_model_to_keep_it_keeps_it_in_the_next_process(
    client: ProcessClient, child: Child, children: Children
) -> None:
    with client.lease(SPEC) as loading:
        child.next("lease")
        child.kill()
        following = children.get(timeout=PATIENCE)
        following.next("start")
        assert following.next("lease")[2] == SPEC
        following.say("loaded", 1, MODEL)
        assert loading.info.result(PATIENCE) == MODEL
    following.next("release")


def test_a_process_that_starts_while_the_client_closes_ends(
    client: ProcessClient, child: Child, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, starting, closed = process_client._started, threading.Event(), threading.Event()

    def slowly() -> tuple[Wire, Child]:
        starting.set()
        assert closed.wait(PATIENCE)
        return start()

    monkeypatch.setattr(process_client, "_started", slowly)
    child.kill()
    assert starting.wait(PATIENCE)
    closing = threading.Thread(target=client.close, daemon=True)
    closing.start()
    wait_until(lambda: client.gone)
    closed.set()
    closing.join(PATIENCE)
    assert not closing.is_alive() and children.get(timeout=PATIENCE).code == 0  # it did not have to be killed


def test_a_process_says_that_a_session_has_no_model_and_waits_for_another() -> None:
    said: list[tuple[Any, ...]] = []
    error = ArtflowError("model_not_loaded", "It has made room.")
    process = EngineProcess(Mock(send=lambda *values: said.append(values)))
    process._client = Mock(session=Mock(side_effect=error))
    process.open("a", "some", LiveParams(), DRAWING.flow)
    process.put("a", Frame(0, noisy(0), 0.0))
    assert said == [("not_opened", "a", error)]


def test_an_errand_that_cannot_be_sent_raises_and_does_not_wait_for_ever(client: ProcessClient, child: Child) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        client.errand(lambda: None)
    assert not client.errands


def test_an_errand_whose_result_cannot_be_sent_fails() -> None:
    said: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    process = EngineProcess(Mock(send=lambda *values: said.put(values)))
    process._client = Mock(errand=lambda work, *values, long: work(*values))
    process.errand(7, threading.Lock, (), False)
    name, key, error = said.get(timeout=PATIENCE)
    assert (name, key) == ("failed", 7) and isinstance(error, TypeError)


def test_a_log_line_whose_words_do_not_fit_raises_nothing_where_it_is_logged(capsys: pytest.CaptureFixture) -> None:
    wire = Mock()
    _LogSender(wire).handle(logging.LogRecord("artflow", logging.INFO, __file__, 1, "%d pictures", ("no",), None))
    assert "%d pictures" in capsys.readouterr().err and not wire.send.called
