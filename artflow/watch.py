"""Whoever waits for something long is told how far it is, and may cancel it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from artflow.models.progress import Underway

if TYPE_CHECKING:
    from artflow.engine.job_request import JobProgress

T = TypeVar("T")


@dataclass(frozen=True)
class Watch:
    """One who waits: for a job that makes progress, and before it for what has to be loaded."""

    on_progress: Callable[[JobProgress], None] = lambda _: None
    on_loading: Callable[[Underway], None] = lambda _: None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, future: Future[Any], state: Underway) -> bool:
        """Wait until it is done; False when cancelled before. It goes on then, for whoever asks next."""
        while not wait([future], timeout=0.1).done:
            self.on_loading(state)
            if self.cancelled.is_set():
                return False
        return True


def in_thread(name: str, work: Callable[[], T]) -> Future[T]:
    """The result of ``work``, done in a thread of its own that does not hold up the end of the process."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
            result.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
