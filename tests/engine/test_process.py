"""The engine in a process of its own: what happens when it dies, and what crosses to it."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from artflow.engine import process_client
from artflow.engine.job_request import JobEnded, JobEvent
from artflow.engine.params import LiveParams
from artflow.engine.process_client import ProcessClient
from artflow.engine.stream_policy import Result, StreamPolicy
from artflow.engine.wire import RING_BYTES, Ring, Wire, shared_file
from artflow.errors import ArtflowError
from artflow.models.info import ModelInfo
from artflow.settings import ModelSettings, SafetySettings
from tests.engine.test_client import heard, job, spec
from tests.support.live import CAMERA, DRAWING, PATIENCE, SIDE, difference, noisy, wait_until

START = 150  # seconds that a process may take to import all that it needs
SETTINGS = ModelSettings(device="cpu", dtype="float32", warmup=0)
LIVE = {"width": SIDE, "height": SIDE, "steps": 1, "prompt": "a red fox", "seed": 5}


def new_client() -> ProcessClient:
    return ProcessClient(SETTINGS, SafetySettings(), "cpu", "tiny")


def kill(client: ProcessClient) -> None:
    """As the system does where memory is short."""
    assert client._process is not None
    client._process.kill()


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Person:
    """A live session and its answers."""

    def __init__(self, client: ProcessClient, model: ModelInfo, policy: StreamPolicy, **params: object) -> None:
        self.results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.stream = client.open(model, LiveParams(**LIVE | params), policy, self.results.put, max_size=1024)

    def answer(self, number: int) -> Result:
        """The answer to one more frame."""
        self.stream.submit(noisy(number))
        return self.results.get(timeout=START)


@dataclass
class Death:
    """What was heard of a process that was killed while it loaded a model, and once more while it had much to do."""

    model: ModelInfo
    events: list[JobEvent]
    errand: ArtflowError
    lost: Result
    people: dict[str, Person]
    before: dict[str, Result]
    health: bool


@pytest.fixture(scope="module")
def client() -> Iterator[ProcessClient]:
    client = new_client()
    yield client
    client.close()


@pytest.fixture(scope="module")
def death(client: ProcessClient) -> Death:
    loading = client.load(spec("tiny"))
    kill(client)
    model = loading.info.result(START)
    client._deaths.clear()
    people = {"camera": Person(client, model, CAMERA), "drawing": Person(client, model, DRAWING)}
    before = {name: person.answer(1) for name, person in people.items()}
    slow = Person(client, model, DRAWING, max_fps=0.01)  # its third frame waits for minutes
    for number in (0, 1):
        slow.answer(number)
    slow.stream.submit(noisy(2))
    events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
    client.submit(job(model, "endless", batch_count=16, steps=50), events.put)
    events.get(timeout=PATIENCE)
    assert client._process is not None
    with pytest.raises(ArtflowError) as errand:
        client.errand(os.kill, client._process.pid, signal.SIGKILL)
    lost = slow.results.get(timeout=PATIENCE)
    slow.stream.close()
    return Death(model, heard(events), errand.value, lost, people, before, client.alive)


def test_who_waits_for_a_model_gets_it_all_the_same(death: Death) -> None:
    assert death.model.id == "tiny"


def test_jobs_and_errands_are_told_how_it_ended(death: Death) -> None:
    end = death.events[-1]
    assert isinstance(end, JobEnded) and end.error is not None
    for error in (end.error, death.errand):
        assert error.code == "engine_stopped"
        assert "The engine stopped (by SIGKILL) and is starting again" in error.message


def test_frames_that_were_on_their_way_are_answered_with_the_reason(death: Death) -> None:
    assert death.lost.frame == 2 and death.lost.error is not None
    assert "live pictures go on by themselves" in death.lost.error.message


def test_it_counts_as_healthy_while_another_one_starts(death: Death) -> None:
    assert death.health


@pytest.mark.parametrize("who", ["camera", "drawing"])
def test_a_live_session_goes_on_with_its_settings(death: Death, who: str) -> None:
    """What came in meanwhile is answered when the new process has the model."""
    person, before = death.people[who], death.before[who]
    result = person.answer(1)
    assert result.error is None and result.recipe == before.recipe and result.recipe["prompt"] == "a red fox"
    assert before.picture is not None and result.picture is not None
    assert difference(before.picture, result.picture) <= 1
    assert person.stream.waiting == 0


def test_the_new_one_serves_as_the_old_one_did(death: Death, client: ProcessClient) -> None:
    assert client.load(spec("tiny")).info.result(START) == death.model
    events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
    client.submit(job(death.model, "again"), events.put)
    assert heard(events)[-1] == JobEnded()


def test_one_that_dies_again_and_again_is_not_started_for_ever_and_leaves_nothing() -> None:
    new_client().close()  # what the first one opens for good
    files = open_files()
    client = new_client()
    for deaths in range(1, process_client.MOST_DEATHS + 1):
        kill(client)
        wait_until(lambda deaths=deaths: len(client._deaths) == deaths)
        wait_until(lambda: client._wire is not None or not client.alive)
    wait_until(lambda: not client.alive)
    with pytest.raises(ArtflowError, match="3 times within 120 s") as caught:
        client.load(spec("tiny")).info.result(PATIENCE)
    assert caught.value.code == "engine_stopped"
    with pytest.raises(ArtflowError, match="not started again"):
        client.errand(divmod, 1, 1)
    client.close()
    assert open_files() <= files


def test_programs_that_it_starts_get_nothing_of_its_connection(client: ProcessClient) -> None:
    assert client.errand(_inherited) <= {0, 1, 2}


def _inherited() -> set[int]:
    found = set()
    for path in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing
            found |= {int(path.name)} if os.get_inheritable(int(path.name)) else set()
    return found


def test_ctrl_c_is_not_for_it_not_even_while_it_starts(client: ProcessClient) -> None:
    assert client._process is not None
    assert os.getpgid(client._process.pid) == client._process.pid != os.getpgid(0)


def test_what_it_logs_is_logged_here(client: ProcessClient, caplog: pytest.LogCaptureFixture) -> None:
    artflow = logging.getLogger("artflow")
    artflow.addHandler(caplog.handler)
    client.errand(_warn, "a bad day", "s-1")
    wait_until(lambda: "a bad day" in caplog.text)
    artflow.removeHandler(caplog.handler)
    record = next(record for record in caplog.records if record.message == "a bad day")
    assert (record.name, record.levelname, record.session) == ("artflow.test", "WARNING", "s-1")


def _warn(words: str, session: str) -> None:
    logging.getLogger("artflow.test").warning("%s", words, extra={"session": session})


def test_the_ring_gives_back_what_was_written_however_often_it_goes_round() -> None:
    with shared_file() as file:
        writer, reader = Ring(file.fileno()), Ring(file.fileno())
    dice = np.random.default_rng(0)
    for _ in range(60):
        data = dice.bytes(int(dice.integers(1, 1_000_000)))
        begin = writer.write(memoryview(data))
        assert begin is not None and reader.read(begin, len(data)) == data


def test_the_ring_takes_no_more_than_fits_and_what_was_read_makes_room() -> None:
    with shared_file() as file:
        writer, reader = Ring(file.fileno()), Ring(file.fileno())
    half = bytes(RING_BYTES // 2)
    first, second = writer.write(memoryview(half)), writer.write(memoryview(half))
    assert first == 0 and second == len(half) and writer.write(memoryview(b"x")) is None
    reader.read(first, len(half))
    assert writer.write(memoryview(b"x")) is not None
    assert writer.write(memoryview(bytes(RING_BYTES + 1))) is None


class Ear:
    """Hears calls."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[tuple[object, ...]] = queue.SimpleQueue()

    def say(self, *values: object) -> None:
        """Be called."""
        self.heard.put(values)

    def fail(self) -> None:
        """Raise, which ends nothing."""
        raise RuntimeError("an error in a call")


class Unreadable:
    """Can be sent, and not be read."""

    def __reduce__(self) -> tuple[object, tuple[int, int]]:
        return divmod, (1, 0)


def test_a_wire_calls_in_order_whatever_the_size(caplog: pytest.LogCaptureFixture) -> None:
    with shared_file() as first, shared_file() as second:
        mine, other = socket.socketpair()
        here = Wire(mine, Ring(first.fileno()), Ring(second.fileno()))
        there = Wire(other, Ring(second.fileno()), Ring(first.fileno()))
    ear = Ear()
    listening = threading.Thread(target=there.serve, args=(ear,))
    listening.start()
    pictures = [noisy(number, side=side) for number, side in enumerate((8, 1024, 2048, 3072, 8, 2048, 2048))]
    for number, picture in enumerate(pictures):  # 3072 x 3072 x 3 is more than the ring holds
        here.send("say", number, picture)
        here.send("fail")
    here.send("say", "not to be pickled", lambda: None)
    here.send("say", Unreadable())
    here.send("say", "the end")
    for number, picture in enumerate(pictures):
        got = ear.heard.get(timeout=PATIENCE)
        assert got[0] == number and np.array_equal(got[1], picture)
        assert got[1].flags.writeable  # also those that did not fit into the ring
    assert ear.heard.get(timeout=PATIENCE) == ("the end",)
    here.close()
    listening.join(PATIENCE)
    assert not listening.is_alive()
