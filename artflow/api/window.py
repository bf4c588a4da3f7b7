"""How many frames a client is asked for ahead, where the latest wins: one is there when the engine can begin it.

All times are monotonic seconds, handed in.
"""

from __future__ import annotations

import math
from collections import deque

SMOOTHING = 0.2  # weight of the newest time between two frames
SPACING = 0.75  # part of the time between two frames that lies between two requests at least
EARLY = 0.15  # seconds that a frame is ready before its turn, at most; else half the time between two frames
MEASURE_AGAIN = 10.0  # seconds after which the shortest trip may be another


class Window:
    """Learns from each frame that comes and each that is begun.

    As many frames are ahead as fit into a round trip; one more while the engine waits for them. Every few seconds a
    trip is measured with nothing else on the way: on a slow network each frame waits for those before it, so that more
    of them would make the trip longer and nothing faster.
    """

    def __init__(self) -> None:
        self._shortest = math.inf  # from a request to the frame, ready to be begun
        self._measured = -MEASURE_AGAIN
        self._trips: deque[float] = deque(maxlen=8)
        self._period = 0.0  # between two frames that are begun
        self._begun = self._asked = -math.inf
        self._waited = False  # whether the last frame was ready early enough
        self._starved = False  # whether the engine had nothing to do before it

    def asked(self, now: float) -> None:
        """A request has gone out."""
        self._asked = now

    def came(self, trip: float, now: float, alone: bool) -> None:
        """A frame is ready, ``trip`` seconds after its request; ``alone``: nothing else was on its way then."""
        self._trips.append(trip)
        if trip <= self._shortest or (alone and now - self._measured > MEASURE_AGAIN):
            self._shortest, self._measured = trip, now

    def begun(self, now: float, waited: float, idle: float) -> None:
        """A frame has been begun that was ready ``waited`` seconds before, after ``idle`` seconds of nothing to do."""
        between = now - self._begun
        if self._period:
            between = min(between, 2 * self._period)  # a pause says nothing of the pace
            self._period += SMOOTHING * (between - self._period)
        elif math.isfinite(between):
            self._period = min(between, 1.0)
        self._begun = now
        self._waited = waited > self._early / 2
        self._starved = not self._waited and idle > self._period / 4

    def due(self, ahead: int, now: float) -> float:
        """When to ask for the next frame, ``ahead`` being asked for or ready; infinity: not before one is begun."""
        if ahead >= self._most(now):
            return math.inf
        if ahead:  # frames that come together replace each other
            return self._asked + SPACING * self._period
        if self._waited and self._trips:
            return self._begun + self._period - self._early - max(self._trips)
        return -math.inf

    @property
    def _early(self) -> float:
        return min(self._period / 2, EARLY)

    def _most(self, now: float) -> int:
        if self._shortest == math.inf or not self._period:
            return 1
        most = max(math.ceil(self._shortest / self._period), 1) + self._starved
        return 1 if now - self._measured > MEASURE_AGAIN else most
