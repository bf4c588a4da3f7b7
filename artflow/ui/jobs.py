"""Long actions of a tab: progress, previews and cancellation."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import gradio as gr

from artflow.engine.job_request import GeneratedImage, JobProgress
from artflow.errors import HIDDEN, ArtflowError
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.metadata import encode_png
from artflow.models.progress import LoadProgress

T = TypeVar("T")
MOST_WAITING = 8  # each keeps one of the server's threads
PULSE = 2.0  # seconds after which the last progress message is repeated


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The result of a job, and whether it was cancelled."""

    value: T
    cancelled: bool


class Jobs:
    """The running jobs of one tab by browser. A page has one at a time; a client of the API may have several.

    ``at_once`` jobs of all browsers run at a time and `MOST_WAITING` more wait, where they can be cancelled, unlike in
    Gradio's own queue. 0: no limit here, because the engine queues them.
    """

    def __init__(self, at_once: int = 0) -> None:
        self._running: dict[str, set[threading.Event]] = {}
        self._places = threading.Semaphore(at_once) if at_once else None
        self._waiting = threading.Semaphore(MOST_WAITING)
        self._lock = threading.Lock()

    def stop(self, request: gr.Request | None) -> None:
        """End this browser's jobs before their next step."""
        with self._lock:
            for running in self._running.get(_session(request), ()):
                running.set()

    def run(
        self, request: gr.Request | None, work: Callable[[JobContext], list[GeneratedImage]]
    ) -> Iterator[tuple[Picture | None, str, list[GeneratedImage] | None]]:
        """(preview or None, message, None) while it runs, then (last picture or None, message, results).

        Raises:
            gr.Error: what went wrong, in one sentence.
        """
        for event in self.follow(request, work):
            if isinstance(event, Outcome):
                made = event.value
                yield (made[-1].picture if made else None), _outcome(made, event.cancelled), made
            else:
                yield *event, None

    def follow(
        self, request: gr.Request | None, work: Callable[[JobContext], T]
    ) -> Iterator[tuple[Picture | None, str] | Outcome[T]]:
        """(preview or None, message) while the work runs, then its `Outcome`.

        Raises:
            gr.Error: what went wrong, in one sentence.
        """
        with self._noted(_session(request)) as cancelled:
            for event in self._events(work, cancelled):
                if isinstance(event, ArtflowError):
                    yield None, ""  # clears the progress message; the error is a toast
                    raise gr.Error(event.message, title="That did not work", print_exception=False) from event
                if isinstance(event, Exception):
                    raise event
                yield event

    def _events(self, work: Callable[[JobContext], Any], cancelled: threading.Event) -> Iterator[Any]:
        """(preview or None, message) while the work runs in its own thread, then its `Outcome` or exception."""
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def loading(state: LoadProgress) -> None:
            share = "" if state.fraction is None else f" ({state.fraction:.0%})"
            events.put((None, f"{state.message}{share}"))

        def progress(p: JobProgress) -> None:
            number = f", picture {p.picture + 1} of {p.pictures}" if p.pictures > 1 else ""
            events.put((p.preview, f"{p.doing} {p.step} of {p.steps}{number}"))

        def run() -> None:
            try:
                with self._place(cancelled, lambda: events.put((None, "Queued: waiting for other jobs"))):
                    events.put(Outcome(work(JobContext(progress, loading, cancelled)), cancelled.is_set()))
            except Exception as error:  # noqa: BLE001 - raised again in `follow`
                events.put(error)

        threading.Thread(target=run, name="tab job", daemon=True).start()
        words = "Starting"
        yield None, words
        while True:
            try:
                event = events.get(timeout=PULSE)
            except queue.Empty:  # Gradio notices only at an event that the browser is gone
                event = (None, words)
            yield event
            if isinstance(event, tuple):
                words = event[1]
            if isinstance(event, Outcome | Exception):
                return

    @contextmanager
    def _place(self, cancelled: threading.Event, on_wait: Callable[[], None]) -> Iterator[None]:
        """Wait for one of the places; a job cancelled meanwhile goes on without one and ends at its first check.

        Raises:
            ArtflowError: ``busy`` where too many wait already.
        """
        places = self._places
        if places is None:
            yield
            return
        if not (mine := places.acquire(blocking=False)):
            if not self._waiting.acquire(blocking=False):
                raise ArtflowError("busy", f"{MOST_WAITING} others wait for this already; try again in a moment.")
            try:
                on_wait()
                while not (mine := places.acquire(timeout=0.1)) and not cancelled.is_set():
                    pass
            finally:
                self._waiting.release()
        try:
            yield
        finally:
            if mine:
                places.release()

    @contextmanager
    def _noted(self, session: str) -> Iterator[threading.Event]:
        cancelled = threading.Event()
        with self._lock:
            self._running.setdefault(session, set()).add(cancelled)
        try:
            yield cancelled
        finally:
            cancelled.set()  # also when the browser is gone
            with self._lock:
                self._running[session].discard(cancelled)
                if not self._running[session]:
                    del self._running[session]


def _session(request: gr.Request | None) -> str:
    """The browser's session; empty for API clients without one."""
    return getattr(request, "session_hash", None) or ""


def _outcome(made: list[GeneratedImage], cancelled: bool) -> str:
    if cancelled:
        return f"Cancelled; finished pictures are kept: {len(made)}." if made else "Cancelled."
    words = "Done." if len(made) == 1 else f"Done: {len(made)} pictures."
    return f"{words} {remarks(made)}".strip()


def remarks(made: list[GeneratedImage]) -> str:
    """Notes on the results: hidden pictures, native size, and words of the prompt that the model does not know."""
    said = [HIDDEN] if any(one.recipe.get("hidden") for one in made) else []
    if made and (size := made[-1].recipe.get("drawn_at")):
        said.append(f"Generated at {size}, the model's own size, and enlarged.")
    if made and (words := made[-1].recipe.get("unknown_words")):
        said.append(f"This model does not know: {', '.join(words)}.")
    return " ".join(said)


@contextmanager
def saved(made: list[GeneratedImage]) -> Iterator[list[str]]:
    """Temporary PNG files of the pictures with their recipes; Gradio copies them while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
        paths = []
        for i, one in enumerate(made):
            path = Path(folder) / f"artflow-{one.recipe['mode']}-{one.recipe['seed']}-{i}.png"
            path.write_bytes(encode_png(one.picture, one.recipe, one.profile))
            paths.append(str(path))
        yield paths
