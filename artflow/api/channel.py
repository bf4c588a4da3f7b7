"""The web side of one live session: places for frames in flight, and the latest picture."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from artflow.errors import ArtflowError
from artflow.images import encode_jpeg

if TYPE_CHECKING:
    from artflow.engine.client import LiveStream
    from artflow.engine.stream_policy import Result
    from artflow.pipeline import Pipeline

USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Note:
    """A text message to send; ``frees``: it is an answer, and releases the place of its message."""

    message: dict[str, Any] | None
    frees: bool = False


class Channel:
    """One user's stream in one mode. Used on the event loop only; the engine calls `arrived` from its thread."""

    def __init__(self, owner: str | None, places: int, results: bool) -> None:
        self.owner = owner
        self.results = results  # whether pictures are sent on the socket itself
        self.latest: Result | None = None
        self.closed = False
        self.session: LiveStream | None = None
        self.under_way = 0  # frames received and not answered
        self.asked = 0  # messages that were requested and not received
        self.outbox: asyncio.Queue[Result | Note] = asyncio.Queue()
        self._places = asyncio.Semaphore(places)
        self.encoding = asyncio.Lock()  # at most one thread of the shared pool per channel
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    async def occupy(self) -> None:
        """Take a place for a message; waits while all are taken, which is back-pressure on the sender.

        It is held until the answer has been sent, so a client that does not read cannot make queues grow.
        """
        await self._places.acquire()

    def free(self, places: int = 1) -> None:
        """Give a message's place back, or grant some more."""
        for _ in range(places):
            self._places.release()

    def say(self, message: dict[str, Any]) -> None:
        """Send a text message soon."""
        self.outbox.put_nowait(Note(message))

    def ask(self) -> None:
        """Ask for a message soon."""
        self.asked += 1
        self.say({"status": "send_frame"})

    def answer(self, message: dict[str, Any] | None) -> None:
        """Release a message's place, after sending ``message`` if there is one."""
        self.outbox.put_nowait(Note(message, frees=True))

    def arrived(self, result: Result) -> None:
        """Deliver the result of a frame. Thread-safe."""
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._note, result)

    def close(self) -> None:
        """End the session and all streams of it."""
        self.closed = True
        if self.session is not None:
            self.session.close()
            self.session = None  # breaks the reference cycle through `arrived`
        self._ring()

    async def picture_after(self, previous: Result | None) -> Result | None:
        """Wait for a picture other than ``previous``; None when the stream has ended."""
        while not self.closed and (self.latest is None or self.latest is previous):
            await self._news.wait()
        return None if self.closed else self.latest

    def _note(self, result: Result) -> None:
        if self.closed:
            return
        self.outbox.put_nowait(result)
        if result.picture is not None:
            self.latest = result
            self._ring()

    def _ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class Api:
    """The state shared by all routes: the pipeline, the open channels, and a thread pool for JPEGs."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._channels: dict[tuple[str, str], Channel] = {}
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="jpeg")

    def claim(self, mode: str, user_id: str, channel: Channel) -> None:
        """Register a channel under its user's id.

        Raises:
            ArtflowError: ``bad_user_id``, or ``user_id_taken`` where another socket has it.
        """
        if not USER_ID.fullmatch(user_id):
            raise ArtflowError("bad_user_id", "A user id has 1 to 64 letters, digits, - and _.")
        if (mode, user_id) in self._channels:
            raise ArtflowError("user_id_taken", f"Another socket uses the id {user_id!r}; choose another one.")
        self._channels[mode, user_id] = channel

    def release(self, mode: str, user_id: str) -> None:
        """Forget a channel."""
        del self._channels[mode, user_id]

    def find(self, mode: str, user_id: str, owner: str | None) -> Channel:
        """The open channel of an id, if it belongs to ``owner``.

        Raises:
            ArtflowError: ``no_session``, whether it does not exist or belongs to somebody else.
        """
        channel = self._channels.get((mode, user_id))
        if channel is None or channel.owner != owner:
            raise ArtflowError("no_session", f"There is no {mode} session {user_id!r}; open its socket first.")
        return channel

    def is_open(self, mode: str, user_id: str) -> bool:
        """Whether an id has an open channel, of any owner."""
        return (mode, user_id) in self._channels

    def count(self, mode: str | None = None) -> int:
        """Open channels of a mode, or of all."""
        return sum(mode in (None, key[0]) for key in self._channels)

    async def in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a function in the thread pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    async def jpeg(self, channel: Channel, result: Result, quality: int) -> bytes:
        """A result's whole picture as JPEG, with the filters of its recipe applied.

        Raises:
            ArtflowError: where the filters cannot be applied to it.
        """
        async with channel.encoding:
            return await self.in_thread(_as_jpeg, result, quality, self.pipeline.settings.server.max_size)

    def close(self) -> None:
        """End every channel and the threads."""
        for channel in self._channels.values():
            channel.close()
        self._pool.shutdown(wait=False)


def _as_jpeg(result: Result, quality: int, longest: int) -> bytes:
    from artflow.modes.filters.live import filtered

    return encode_jpeg(filtered(result.whole(), (result.recipe or {}).get("filters"), longest), quality)


def api_of(connection: HTTPConnection) -> Api:
    """The shared state, as the app's lifespan put it there."""
    return connection.app.state.artflow
