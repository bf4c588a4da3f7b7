"""Live sessions in tests: a person who sends frames and keeps the answers, and an engine that can be held still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from artflow.engine.engine import Engine
from artflow.engine.params import LiveParams
from artflow.engine.runner import Runner
from artflow.engine.session import LiveSession
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import Result, StreamPolicy
from artflow.images import Picture

SIDE = 64
PATIENCE = 30  # seconds after which a test that waits has failed; nothing is expected to take long

STREAM = StreamPolicy("realtime", pipelined=True, latest_only=False)  # a camera none of whose frames are dropped
CAMERA = StreamPolicy("realtime", pipelined=True, latest_only=True)
DRAWING = StreamPolicy("canvas", pipelined=False, latest_only=False)


def wait_until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """The condition's value once it is true."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.005)
    return value


def plain(*colour: int, side: int = SIDE) -> Picture:
    """A picture of one colour."""
    return np.full((side, side, 3), colour, np.uint8)


def noisy(seed: int, side: int = SIDE) -> Picture:
    """A picture like no other: random blocks of 8 pixels."""
    small = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return small.repeat(8, 0).repeat(8, 1)


def difference(a: Picture, b: Picture) -> int:
    """The largest difference of any pixel, in grey levels."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


class Person:
    """A live session on an engine, and what came back from it."""

    def __init__(
        self,
        engine: Engine,
        runner: Runner,
        policy: StreamPolicy = STREAM,
        kind: type[LiveParams] = LiveParams,
        **params: Any,
    ) -> None:
        self.results: list[Result] = []
        self._came = threading.Condition()
        wanted = {"width": SIDE, "height": SIDE, "priority": "quality", "seed": 1} | params
        self.session = LiveStream(runner.model.info, kind(**wanted), policy, self._take)
        self.engine_session = LiveSession.of(self.session, runner)
        engine.add(self.engine_session)

    def _take(self, result: Result) -> None:
        with self._came:
            self.results.append(result)
            self._came.notify_all()

    def send(self, *pictures: Picture) -> None:
        """Hand in frames."""
        for picture in pictures:
            self.session.submit(picture)

    def change(self, **params: Any) -> None:
        """Change settings."""
        now = self.session.params
        self.session.update(type(now)(**now.model_dump() | params))

    def wait_for(self, count: int) -> list[Result]:
        """The results, once there are at least so many."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.results) >= count, PATIENCE), self.results
            return list(self.results)

    def answer(self, picture: Picture) -> Result:
        """The last result to one more frame; for flows that answer each frame by itself."""
        before = len(self.results)
        self.send(picture)
        return self.wait_for(before + 1)[-1]

    @property
    def pictures(self) -> list[Picture]:
        """The pictures that came, in order."""
        return [result.picture for result in self.results if result.picture is not None]

    @property
    def errors(self) -> list[str]:
        """The codes of the errors that came."""
        return [result.error.code for result in self.results if result.error is not None]


@contextmanager
def held(engine: Engine) -> Iterator[None]:
    """Keep the engine's thread busy, so that what is handed in meanwhile waits."""
    reached, go_on = threading.Event(), threading.Event()
    engine.run_on_engine_thread(lambda: (reached.set(), go_on.wait(PATIENCE)))
    assert reached.wait(PATIENCE)
    try:
        yield
    finally:
        go_on.set()


def settle(engine: Engine) -> None:
    """Return when the engine has done all that it can do without new frames."""
    for _ in range(2):
        for runner in {session.runner for session in engine._scheduler.sessions}:
            runner.conditions.encode(f"at {time.monotonic()}")  # behind all prompts that wait
        engine.run_on_engine_thread(lambda: None).result(PATIENCE)
