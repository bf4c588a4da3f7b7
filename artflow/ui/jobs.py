"""Long actions of a tab: progress while they run, previews, and cancel."""

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

from artflow.engine.job import Made, Progress
from artflow.errors import HIDDEN, ArtflowError
from artflow.images import Picture, encode_png
from artflow.models.progress import Underway
from artflow.watch import Watch

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a job came to."""

    value: T
    cancelled: bool


class Jobs:
    """The running jobs of one tab by browser. A page has one at a time; a client of the API may have several."""

    def __init__(self) -> None:
        self._running: dict[str, set[threading.Event]] = {}
        self._lock = threading.Lock()

    def stop(self, request: gr.Request) -> None:
        """End this browser's jobs before their next step."""
        with self._lock:
            for running in self._running.get(request.session_hash or "", ()):
                running.set()

    def run(
        self, request: gr.Request | None, work: Callable[[Watch], list[Made]]
    ) -> Iterator[tuple[Picture | None, str, list[Made] | None]]:
        """(preview or None, words, None) while it runs, then (last picture or None, words, what was made).

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
        self, request: gr.Request | None, work: Callable[[Watch], T]
    ) -> Iterator[tuple[Picture | None, str] | Outcome[T]]:
        """(preview or None, words) while any work runs, then its outcome.

        Raises:
            gr.Error: what went wrong, in one sentence.
        """
        session = getattr(request, "session_hash", None) or ""
        with self._noted(session) as cancelled:
            for event in _events(work, cancelled):
                if isinstance(event, ArtflowError):
                    raise gr.Error(event.message, title="That did not work", print_exception=False) from event
                if isinstance(event, Exception):
                    raise event
                yield event

    @contextmanager
    def _noted(self, session: str) -> Iterator[threading.Event]:
        cancelled = threading.Event()
        with self._lock:
            self._running.setdefault(session, set()).add(cancelled)
        try:
            yield cancelled
        finally:
            cancelled.set()  # also when the browser went away in the middle
            with self._lock:
                self._running[session].discard(cancelled)
                if not self._running[session]:
                    del self._running[session]


def _events(work: Callable[[Watch], Any], cancelled: threading.Event) -> Iterator[Any]:
    """(picture or None, words) while the work runs in a thread of its own; then its outcome, or its exception."""
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def loading(state: Underway) -> None:
        share = "" if state.fraction is None else f" ({state.fraction:.0%})"
        events.put((None, f"{state.message}{share}"))

    def progress(p: Progress) -> None:
        number = f", picture {p.picture + 1} of {p.pictures}" if p.pictures > 1 else ""
        events.put((p.preview, f"{p.doing} {p.step} of {p.steps}{number}"))

    def run() -> None:
        try:
            events.put(Outcome(work(Watch(progress, loading, cancelled)), cancelled.is_set()))
        except Exception as error:  # noqa: BLE001 - raised again where the person is
            events.put(error)

    threading.Thread(target=run, name="tab job", daemon=True).start()
    while True:
        event = events.get()
        yield event
        if isinstance(event, Outcome | Exception):
            return


def _outcome(made: list[Made], cancelled: bool) -> str:
    if cancelled:
        return f"Cancelled; {len(made)} made before that are kept." if made else "Cancelled."
    words = "Made." if len(made) == 1 else f"Made {len(made)}."
    return f"{words} {remarks(made)}".strip()


def remarks(made: list[Made]) -> str:
    """What to say of the pictures: that some are hidden, words of the prompt that the model was never taught."""
    said = [HIDDEN] if any(one.recipe.get("hidden") for one in made) else []
    if made and (words := made[-1].recipe.get("unknown_words")):
        said.append(f"This model does not know: {', '.join(words)}.")
    return " ".join(said)


@contextmanager
def saved(made: list[Made]) -> Iterator[list[str]]:
    """The pictures as PNG files that carry their recipes. Gradio copies what is yielded, so they may go after."""
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
        paths = []
        for i, one in enumerate(made):
            path = Path(folder) / f"artflow-{one.recipe['mode']}-{one.recipe['seed']}-{i}.png"
            path.write_bytes(encode_png(one.picture, one.recipe))
            paths.append(str(path))
        yield paths
