"""Threads for the picture work of all connections, off the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Pool:
    """Threads with a queue, used from one event loop.

    What goes out has the first turn: a frame that waits to be read may be replaced meanwhile, one that is made may not.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="jpeg")
        self._free = self.threads
        self._out: deque[asyncio.Future[None]] = deque()
        self._in: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def turn(self, *, out: bool) -> AsyncIterator[None]:
        """A thread is free for the caller inside; ``out``: for what goes out."""
        if self._free:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            (self._out if out else self._in).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # it had come already
                    self._pass_on()
                raise
        try:
            yield
        finally:
            self._pass_on()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """The result of the work, done in a thread; call it inside a `turn`."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)

    def close(self) -> None:
        """End the threads when they have done what they do."""
        self._executor.shutdown(wait=False)

    def _pass_on(self) -> None:
        for waiting in (self._out, self._in):
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._free += 1
