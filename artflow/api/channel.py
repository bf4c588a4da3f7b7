"""The live session of one connection, seen from the web: places for frames, and the latest picture."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from artflow.api.messages import Message
from artflow.api.requests import Requests
from artflow.errors import ArtflowError

if TYPE_CHECKING:
    from artflow.engine.client import LiveStream
    from artflow.engine.stream_policy import Result


DECODE_EVERY = 1 / 40  # seconds between two pictures of a session that the engine does not wait for
UNASKED_EVERY = 0.01  # seconds between two messages that nobody asked for: they are read no faster
FLOOD, FLOOD_SECONDS = 50, 3.0  # messages of no use in a row, within so many seconds; who waits to be asked sends fewer


@dataclass(frozen=True)
class Outgoing:
    """What goes to a client, None for an answer without words, and what is to be done when it has gone out."""

    data: dict[str, Any] | bytes | None
    then: Callable[[], None] | None = None


class Channel:
    """One person's stream in one mode. Lives on the event loop; the engine reaches it through `arrived` and `begun`.

    A message holds one of ``most`` places from before it is read until its answer has gone out, so a client that does
    not read cannot pile anything up.
    """

    requests: Requests  # from `start` to `close`

    def __init__(self, owner: str | None, address: str, results: bool, legacy: bool = False) -> None:
        self.owner = owner
        self.address = address  # empty: unknown
        self.large = False  # whether its pictures are too large for the threads that all share
        self.quick_filters: list[dict[str, Any]] | None = None  # those that took no time for the last picture
        self.results = results  # whether the socket itself gets the pictures
        self.legacy = legacy  # whether the client is a front end of the earlier servers
        self.latest: Result | None = None
        self.closed = False
        self.taken_over = asyncio.Event()  # another socket of the same person wants its id
        self.released = asyncio.Event()  # it has none any more
        self.session: LiveStream | None = None
        self.mode = ""
        self.outbox: asyncio.Queue[Outgoing] = asyncio.Queue()
        self.fates: asyncio.Queue[tuple[Result, float]] = asyncio.Queue()  # and when each came (monotonic seconds)
        self.places = asyncio.Semaphore(0)
        self.encoding = asyncio.Lock()  # at most one thread of the shared pool per channel
        self._messages: deque[Message] = deque()
        self._change = asyncio.Event()  # a message or a turn to decode may have come
        self._decoded = self._unasked = -math.inf
        self._mistakes: deque[float] = deque(maxlen=FLOOD)  # when they came, those in a row
        self._next_number = 0
        self._watchers = int(results)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def start(self, session: LiveStream, most: int) -> None:
        """Serve a session: ``most`` messages may be on their way at once."""
        self.session = session
        self.requests = Requests(session, most, self._ask)
        self.requests.watchers = self._watchers
        for _ in range(most):
            self.places.release()

    # -- what comes in ----------------------------------------------------------------------------------------------

    def take_in(self, message: Message) -> None:
        """Let a message wait for its turn; where the latest wins, its picture replaces one that waits undecoded."""
        assert self.session is not None
        if message.picture:
            chosen = message.chosen_number
            message.number = self._next_number if chosen is None else chosen
            self._next_number = message.number + 1
            self.requests.under_way += 1
            self.requests.coming += 1
            if self.session.policy.latest_only:
                self._replace_waiting()
        self._messages.append(message)
        self._change.set()

    async def message_due(self) -> None:
        """Return when the oldest message that waits may be worked on.

        A picture that the engine does not wait for is decoded a while after the last one: by then it may be replaced.
        """
        while (pause := self._pause()) > 0:
            self._change.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if pause == math.inf else pause):
                    await self._change.wait()

    def next_message(self) -> Message:
        """The oldest message that waits."""
        message = self._messages.popleft()
        if message.picture:
            self._decoded = time.monotonic()
        return message

    def handed_in(self, message: Message, repeats: bool) -> None:
        """The session has a message; ``repeats``: it answers the last frame once more."""
        self._mistakes.clear()
        if message.picture:
            self.requests.coming -= 1
            self.requests.ready(message.request)
            self.requests.refill()
        elif repeats:
            self.requests.under_way += 1
        elif not message.replaced:
            if message.stands_for_frame:
                self.requests.failed()
            self.answered(frame=False)

    def refuse(self, error: ArtflowError, message: Message | None = None) -> bool:
        """Answer a message that is of no use; whether this is a flood of them, which ends the connection."""
        number = {"frame": message.chosen_number} if message and message.chosen_number is not None else {}
        frame = message is not None and bool(message.picture)
        if message is not None and message.replaced:  # which has answered its frame already
            self.send(self.fault(error) | number)
        else:
            self.send(self.fault(error) | number, partial(self.answered, frame=frame))
        self.requests.coming -= frame
        if message is None or message.stands_for_frame:
            self.requests.failed()
        now = time.monotonic()
        self._mistakes.append(now)
        return len(self._mistakes) == FLOOD and now - self._mistakes[0] < FLOOD_SECONDS

    async def hold_back(self) -> None:
        """Return when the next message may be read after one that nobody asked for."""
        now = time.monotonic()
        self._unasked = max(self._unasked + UNASKED_EVERY, now)
        await asyncio.sleep(self._unasked - now)

    # -- what goes out ----------------------------------------------------------------------------------------------

    def send(self, data: dict[str, Any] | bytes | None, then: Callable[[], None] | None = None) -> None:
        """Send a message soon; ``then`` is called when it has gone out."""
        self.outbox.put_nowait(Outgoing(data, then))

    def fault(self, error: ArtflowError) -> dict[str, Any]:
        """The message on a mistake that the connection survives: the earlier front ends take ``error`` for its end."""
        return error.as_json() | ({"status": "wait"} if self.legacy else {})

    def answered(self, *, frame: bool = True, picture: bool = False) -> None:
        """An answer has gone out: a message's place is free again."""
        self.places.release()
        self.requests.under_way -= frame
        self.requests.unsent -= picture
        self.requests.refill()

    def arrived(self, result: Result) -> None:
        """A frame's fate, from any thread."""
        self._soon(self._note, result)

    def begun(self, now: float, waited: float, idle: float) -> None:
        """A frame has been begun; from any thread (see `LiveStream.on_begun`)."""
        self._soon(self._note_begun, now, waited, idle)

    def moved(self, error: ArtflowError | None, late: bool) -> None:
        """Other models serve the session than before, or the reason why they do not; from any thread."""
        self._soon(self._note_move, error, late)

    def close(self) -> None:
        """End the session and let everyone who watches go."""
        self.closed = True
        if self.session is not None:
            self.requests.stop()
            self.session.close()
            # All of these know each other: without this they would wait for the garbage collector.
            self.session = None
            self.outbox = asyncio.Queue()
            del self.requests
        self._ring()

    async def lost_to_another(self) -> None:
        """Return when another socket of the same person wants the id."""
        await self.taken_over.wait()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody gets the pictures meanwhile."""
        self._watch(1)
        try:
            yield
        finally:
            self._watch(-1)

    async def picture_after(self, previous: Result | None) -> Result | None:
        """The latest picture once there is another than ``previous``; None when the stream has ended."""
        while not self.closed and (self.latest is None or self.latest is previous):
            await self._news.wait()
        return None if self.closed else self.latest

    # -- inside -----------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        self.send({"status": "send_frame"}, self.requests.sent)

    def _replace_waiting(self) -> None:
        assert self.session is not None
        for older in self._messages:
            if older.picture and older.number is not None:
                older.picture, older.replaced = b"", True
                self.requests.coming -= 1
                self.session.discard(older.number, older.received)

    def _pause(self) -> float:
        """Seconds until the oldest message may be worked on."""
        assert self.session is not None
        if not self._messages:
            return math.inf
        if not self._messages[0].picture or not self.session.policy.latest_only:
            return 0.0
        wanted = not self.session.waiting and not self.requests.still
        return 0.0 if wanted else self._decoded + DECODE_EVERY - time.monotonic()

    def _soon(self, note: Callable[..., None], *facts: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(note, *facts)

    def _note_begun(self, now: float, waited: float, idle: float) -> None:
        if not self.closed:
            self.requests.begun(now, waited, idle)
            self._change.set()

    def _note(self, result: Result) -> None:
        if self.closed:
            return
        self.fates.put_nowait((result, time.monotonic()))
        self.requests.unsent += self.results and result.picture is not None
        self.requests.answered(result)
        if result.picture is not None:
            self.latest = result
            self._ring()

    def _note_move(self, error: ArtflowError | None, late: bool) -> None:
        if self.session is not None and not self.legacy:
            moved = {"status": "model", "late": late} | served(self.session)
            self.send(moved if error is None else error.as_json())

    def _watch(self, people: int) -> None:
        self._watchers += people
        if self.session is not None:
            self.requests.watchers = self._watchers
            self.requests.refill()

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def served(session: LiveStream) -> dict[str, Any]:
    """What a client is told of who makes its pictures: the models, one after the other, the size, and the settings."""
    params = session.params
    return {
        "models": session.served_by,
        "width": session.sized.width,
        "height": session.sized.height,
        "strength": params.strength,
        "steps": params.steps,
    }
