"""When a client is asked for a frame: ``send_frame`` is said when one can be used."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artflow.api.window import Window

if TYPE_CHECKING:
    from artflow.engine.client import LiveStream
    from artflow.engine.stream_policy import Result

AFTER_ERROR = 0.1  # seconds before the next request, so that what fails does not go round and round
AFTER_SKIP = 1 / 40  # the same for a frame like the last one: a still scene needs no more of them
UNSENT = 2  # pictures that wait to be sent, from which on no frame is asked for
UNASKED = 1.0  # seconds after an unasked frame in which nobody knows which request a frame answers


@dataclass(frozen=True)
class Request:
    """One ``send_frame``: when it went out, and whether nothing else was on its way."""

    sent: float
    alone: bool


class Requests:
    """Counts what was asked for and what came. Lives on the event loop.

    A session that answers every frame in order has ``most`` of them asked for or under way. One that shows the latest
    has as many ahead as its `Window` says, ``most`` at the greatest. Only a frame, or what stands in its place, uses a
    request, so there are never more than ``most`` whatever a client sends.
    """

    def __init__(self, session: LiveStream, most: int, ask: Callable[[], None]) -> None:
        self.asked = 0  # requests that nothing has answered
        self.under_way = 0  # frames that have come and whose answers have not gone out
        self.coming = 0  # those of them that the session does not have yet
        self.unsent = 0  # pictures that are made and have not gone out
        self.watchers = 0  # people who get the pictures; without any, one frame is asked for in all
        self.still = False  # whether the last frame was like the one before
        self._session, self._most, self._ask = session, most, ask
        self._served = False  # whether a frame has come that could be used
        self._failing = False  # whether the last answer was an error
        self._not_before = self._unasked_at = -math.inf
        self._window = Window()
        self._sent: deque[Request] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def sent(self) -> None:
        """A request has gone out."""
        alone = self.asked == 1 and not self.coming and not self._session.waiting
        self._sent.append(Request(time.monotonic(), alone))

    def used(self) -> Request | None:
        """A message has come that stands for a frame: the request that it answers, None where none was out."""
        if not self.asked:
            self._unasked_at = time.monotonic()
        self.asked = max(self.asked - 1, 0)
        return self._sent.popleft() if self._sent else None

    def ready(self, request: Request | None) -> None:
        """The session has the frame that came as an answer to the request."""
        self._served = True
        now = time.monotonic()
        if request is not None and now - self._unasked_at > UNASKED:
            self._window.came(now - request.sent, now, request.alone)

    def begun(self, now: float, waited: float, idle: float) -> None:
        """The engine has begun a frame (see `LiveStream.on_begun`)."""
        self._window.begun(now, waited, idle)
        self.still = False
        self.refill()

    def answered(self, result: Result) -> None:
        """A frame's fate is known."""
        if result.error is not None:
            self.failed()
            return
        if result.skipped:
            self.still = True
            self._wait(AFTER_SKIP)
        self._failing &= result.picture is None
        self.refill()

    def failed(self) -> None:
        """What stood for a frame was of no use."""
        self._failing = True
        self._wait(AFTER_ERROR)
        self.refill()

    def refill(self) -> None:
        """Ask for what is of use now, and look again when more will be."""
        self.stop()
        now = time.monotonic()
        while (due := self._due(now)) <= now:
            self.asked += 1
            self._window.asked(now)
            if self._failing or self.still:
                self._wait(AFTER_ERROR if self._failing else AFTER_SKIP)
            self._ask()
        if due < math.inf:
            self._timer = asyncio.get_running_loop().call_later(due - now, self.refill)

    def stop(self) -> None:
        """Do not look again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, seconds: float) -> None:
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _due(self, now: float) -> float:
        """When the next request may go out; infinity where something else has to happen first."""
        ahead = self.asked + self.coming + self._session.waiting
        if self.asked + self.under_way >= self._most or (not self.watchers and (self._served or ahead)):
            return math.inf
        if not self._session.policy.latest_only:
            return self._not_before
        if self.coming or self.unsent >= UNSENT:  # it is not the network that is slow
            return math.inf
        return max(self._window.due(ahead, now), self._not_before)
