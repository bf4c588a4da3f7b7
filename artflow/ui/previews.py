"""Previews that follow a slider: a page has one at a time, and the newest is the one that counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

from artflow.admission import Places
from artflow.errors import Cancelled
from artflow.ui.jobs import asker

T = TypeVar("T")

AT_ONCE, MOST_WAITING = 2, 16  # of all pages; each keeps one of the server's threads
PER_ADDRESS = 6  # of them from one network address

Check = Callable[[int], None]
"""Called between the parts of a work; raises `Cancelled` where it is of no use any more."""


class Previews:
    """The previews of one kind of all pages. Safe from any thread."""

    def __init__(self) -> None:
        self._places = Places(AT_ONCE, MOST_WAITING, per_address=PER_ADDRESS)
        self._newest: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def run(self, request: gr.Request | None, work: Callable[[Check], T]) -> T | None:
        """The work's result, or None where the page has asked for another since: that ends this one.

        Raises:
            ArtflowError: ``busy``, or what the work raises.
        """
        who, over = asker(request), threading.Event()
        page = who.person or who.address

        def check(_: int) -> None:
            if over.is_set():
                raise Cancelled

        with self._lock:
            if (older := self._newest.get(page)) is not None and page:
                older.set()
            self._newest[page] = over
        try:
            with self._places.place(who, over):
                return work(check)
        except Cancelled:
            return None
        finally:
            with self._lock:
                if self._newest.get(page) is over:
                    del self._newest[page]
