"""The lane: a thread for rows that cost more than live sessions can wait for, beside the engine's own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from artflow.engine.threads import with_threads
from artflow.engine.transfer import stream

log = logging.getLogger(__name__)

IDLE = 2.0  # seconds without work after which the thread ends, and its team of OpenMP threads with it
PAUSE = 0.05  # seconds to wait for work, or after an error that may stay


class Lane:
    """Serves large rows in a thread that lives while there are any. Safe from any thread.

    ``work`` does what can be done now and returns whether that was anything. ``threads`` says with how many CPU threads
    it should compute; where that has changed the thread ends, and a new one can be started. ``on_end`` is called from
    the thread when it ends by itself.
    """

    def __init__(
        self, device: str, work: Callable[[], bool], threads: Callable[[], int], on_end: Callable[[], None]
    ) -> None:
        self._device = device
        self._work, self._threads, self._on_end = work, threads, on_end
        self._changed = threading.Condition()
        self._news = self._closing = False
        self._thread: threading.Thread | None = None

    def start(self, after: Any) -> None:
        """Begin to serve, where it does not do so already. ``after``: on a GPU, the stream whose work comes first."""
        with self._changed:
            if self._thread is None and not self._closing:
                threads = self._threads()
                self._thread = threading.Thread(
                    target=with_threads,
                    args=(threads, lambda: self._serve(threads, after)),
                    name="engine, large rows",
                    daemon=True,
                )
                self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        with self._changed:
            self._news = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread after the step that it is in."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _serve(self, threads: int, after: Any) -> None:
        worked = time.monotonic()
        while True:
            with self._changed:
                self._news = False
            try:
                with stream(self._device, after=after):
                    if self._work():
                        worked = time.monotonic()
            except Exception:
                log.exception("a round of the engine failed")
            idle = time.monotonic() - worked > IDLE or self._threads() != threads
            with self._changed:
                if self._closing or idle:
                    self._thread = None
                    break
                if not self._news:
                    self._changed.wait(PAUSE)
        self._on_end()
