"""How many frames a client is asked for ahead: the real window between a simulated client and engine, in their time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import pytest

from artflow.api.window import Window

SECONDS = 30.0  # simulated; what is measured is the second half


@dataclass
class Outcome:
    """What came of it."""

    pictures: float  # a second
    uploads: float  # for each picture
    age: float  # of a frame when the engine begins it, seconds since it was sent: 95 of 100 are younger
    most: int  # requests and frames ahead at once


class Simulation:
    """One client that answers each request, one engine that takes the latest frame, and the way between them.

    ``work(now)`` is what a step takes, ``trip`` the way there and back, ``uplink`` the seconds that the network needs
    for each frame, ``pace`` those between two frames of a camera; ``jitter`` is added to the way at random, at most.
    """

    def __init__(
        self, work: Callable[[float], float], trip: float, uplink: float = 0, pace: float = 0, jitter: float = 0.001
    ) -> None:
        self.window = Window()
        self._work, self._trip, self._uplink, self._pace, self._jitter = work, trip, uplink, pace, jitter
        self._random = random.Random(1)
        self._now = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._asked: list[tuple[float, bool]] = []
        self._link_free = self._next_frame = self._arrival = 0.0
        self._waiting: tuple[float, float, float] | None = None  # sent, came, since when any
        self._busy, self._ended = False, 0.0
        self._sent: list[float] = []
        self._begun: list[tuple[float, float]] = []
        self._most = 0

    def run(self) -> Outcome:
        """From the first request on."""
        self._refill()
        while self._agenda and self._agenda[0][0] < SECONDS:
            self._now, _, act = heapq.heappop(self._agenda)
            act()
        begun = [(at, sent) for at, sent in self._begun if at > SECONDS / 2]
        uploads = sum(sent > SECONDS / 2 for sent in self._sent)
        ages = sorted(at - sent for at, sent in begun)
        return Outcome(len(begun) / (SECONDS / 2), uploads / len(begun), ages[int(0.95 * len(ages))], self._most)

    def _at(self, time: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time, next(self._order), act))

    def _half_trip(self) -> float:
        return self._trip / 2 + self._random.uniform(0, self._jitter)

    def _refill(self) -> None:
        ahead = len(self._asked) + (self._waiting is not None)
        while (due := self.window.due(ahead, self._now)) <= self._now:
            self._asked.append((self._now, ahead == 0))
            self.window.asked(self._now)
            self._at(self._now + self._half_trip(), self._send)
            ahead += 1
            self._most = max(self._most, ahead)
        if due < math.inf:
            self._at(due, self._refill)

    def _send(self) -> None:
        sent = max(self._now, self._next_frame)
        self._next_frame = sent + self._pace
        self._link_free = max(self._link_free, sent) + self._uplink
        # One connection: what was sent later never comes sooner.
        self._arrival = max(self._arrival, self._link_free + self._half_trip())
        self._at(self._arrival, lambda: self._come(sent))

    def _come(self, sent: float) -> None:
        self._sent.append(sent)
        asked, alone = self._asked.pop(0)
        self.window.came(self._now - asked, self._now, alone)
        since = self._waiting[2] if self._waiting else self._now
        self._waiting = (sent, self._now, since)
        self._refill()
        self._begin()

    def _begin(self) -> None:
        if self._busy or self._waiting is None:
            return
        sent, _, since = self._waiting
        self._waiting, self._busy = None, True
        self._begun.append((self._now, sent))
        self.window.begun(self._now, self._now - since, since - self._ended)
        self._refill()
        self._at(self._now + self._work(self._now), self._end)

    def _end(self) -> None:
        self._busy, self._ended = False, self._now
        self._begin()


def steady(seconds: float) -> Callable[[float], float]:
    return lambda now: seconds


@pytest.mark.parametrize("work", [0.005, 0.02, 0.15, 0.75])
@pytest.mark.parametrize("jitter", [0.001, 0.004])
def test_a_near_client_sends_one_frame_a_picture_and_keeps_the_engine_busy(work: float, jitter: float) -> None:
    seen = Simulation(steady(work), trip=0.001, jitter=jitter).run()
    assert seen.pictures > 0.88 / work
    assert seen.uploads < 1.02
    assert seen.age < min(work, 0.15) + 2 * jitter + 0.01
    assert seen.most <= 3


@pytest.mark.parametrize("work", [0.01, 0.017, 0.033, 0.15])
@pytest.mark.parametrize(("jitter", "share"), [(0.001, 0.82), (0.008, 0.68)])
def test_a_round_trip_of_80_ms_costs_few_pictures(work: float, jitter: float, share: float) -> None:
    seen = Simulation(steady(work), trip=0.08, jitter=jitter).run()
    assert seen.pictures > share / work
    assert seen.uploads < 1.15
    assert seen.age < 0.08 / 2 + 2.5 * max(work, jitter)
    assert seen.most <= 0.08 / work + 4


def test_a_slow_network_is_not_filled_with_frames() -> None:
    """More frames on the way would not be faster, only older."""
    seen = Simulation(steady(0.01), trip=0.03, uplink=0.1).run()
    assert seen.pictures > 9
    assert seen.age < 0.35


def test_a_camera_is_not_asked_for_more_than_it_gives() -> None:
    seen = Simulation(steady(0.01), trip=0.005, pace=1 / 30).run()
    assert seen.pictures > 29
    assert seen.most <= 4


def test_an_engine_that_gets_slower_and_faster_is_followed() -> None:
    seen = Simulation(lambda now: 0.2 if 5 < now < 14 else 0.02, trip=0.08).run()
    assert seen.pictures > 0.85 / 0.02
    assert seen.uploads < 1.15


def test_a_shorter_way_than_is_true_is_forgotten() -> None:
    """As after a frame that nobody had asked for."""
    simulation = Simulation(steady(0.017), trip=0.08)
    simulation.window.came(0.0005, 0.0, True)
    assert simulation.run().pictures > 0.85 / 0.017
