"""Progress reporting and cancellation of long operations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from artflow.admission import UNKNOWN, Asker
from artflow.models.progress import LoadProgress

if TYPE_CHECKING:
    from artflow.engine.job_request import JobProgress

T = TypeVar("T")

Errand = Callable[..., Any]
"""Returns ``work(*values)``, computed where the device is (`EngineClient.errand`)."""


def here(work: Callable[..., T], *values: Any, long: bool = False) -> T:
    """An `Errand` that this thread runs."""
    return work(*values)


@dataclass(frozen=True)
class JobContext:
    """Where a job reports its progress and that of the models it loads, the event that cancels it, and who asks."""

    on_progress: Callable[[JobProgress], None] = lambda _: None
    on_loading: Callable[[LoadProgress], None] = lambda _: None
    cancelled: threading.Event = field(default_factory=threading.Event)
    who: Asker = UNKNOWN

    def wait_for(self, future: Future[Any], state: LoadProgress) -> bool:
        """Report ``state`` until the future is done; False when cancelled before, which does not end the load."""
        while not wait([future], timeout=0.1).done:
            self.on_loading(state)
            if self.cancelled.is_set():
                return False
        return True


def in_thread(name: str, work: Callable[[], T]) -> Future[T]:
    """A future of ``work()``, which runs in a daemon thread of its own."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
            result.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
