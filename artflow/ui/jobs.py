"""Long actions of a tab: progress, previews and cancellation."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import gradio as gr

from artflow.admission import Asker, Places
from artflow.api.client_address import address_of
from artflow.engine.job_request import GeneratedImage, JobProgress
from artflow.errors import HIDDEN, ArtflowError, Cancelled, inner_error
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.metadata import encode_png
from artflow.models.progress import LoadProgress
from artflow.modes.remove import MODEL
from artflow.settings import ServerSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
Word = tuple[Picture | None, str]  # a preview, or none, and a progress message

AT_ONCE = 2  # works that compute outside of the engine, of all browsers
MOST_WAITING = 8  # each keeps one of the server's threads
PULSE = 2.0  # seconds after which the last progress message is repeated


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The result of a job, and whether it was cancelled; None where that was before it had begun."""

    value: T | None
    cancelled: bool


class _News:
    """What a work has said last, and its end. Older words that nobody has taken are of no use, but for a preview."""

    def __init__(self) -> None:
        self._word: Word | None = None
        self._end: Any = None
        self._changed = threading.Condition()

    def say(self, preview: Picture | None, words: str) -> None:
        """Replace what nobody has taken yet."""
        with self._changed:
            if preview is None and self._word is not None:
                preview = self._word[0]
            self._word = preview, words
            self._changed.notify()

    def end(self, end: Outcome[Any] | Exception) -> None:
        """Nothing more is said."""
        with self._changed:
            self._end = end
            self._changed.notify()

    def take(self, timeout: float) -> Word | Outcome[Any] | Exception | None:
        """The newest word, then the end; None where nothing comes for so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._word is not None or self._end is not None, timeout)
            word, self._word = self._word, None
            return word if word is not None else self._end


class Jobs:
    """The running jobs of one tab by browser. A page has one at a time; a client of the API may have several.

    ``limits``: `AT_ONCE` jobs of all browsers run at a time and `MOST_WAITING` more wait, where they can be cancelled,
    unlike in Gradio's own queue, each person and address with a share. None: no limit here, as the engine's jobs have.
    """

    def __init__(self, limits: ServerSettings | None = None) -> None:
        self._running: dict[str, set[threading.Event]] = {}
        self._places: Places | None = None
        if limits is not None:
            share = {"per_person": limits.jobs_per_person, "per_address": limits.jobs_per_address}
            self._places = Places(AT_ONCE, MOST_WAITING, **share)
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
                made = event.value or []
                yield (made[-1].picture if made else None), _outcome(made, event.cancelled), made
            else:
                yield *event, None

    def follow(self, request: gr.Request | None, work: Callable[[JobContext], T]) -> Iterator[Word | Outcome[T]]:
        """(preview or None, message) while the work runs, then its `Outcome`.

        Raises:
            gr.Error: what went wrong, in one sentence.
        """
        with self._noted(_session(request)) as cancelled:
            for event in self._events(work, cancelled, asker(request)):
                if isinstance(event, Exception):
                    yield None, ""  # clears the progress message; the error is a toast
                    raise told(event) from event
                yield event

    def _events(
        self, work: Callable[[JobContext], Any], cancelled: threading.Event, who: Asker
    ) -> Iterator[Word | Outcome[Any] | Exception]:
        """(preview or None, message) while the work runs in its own thread, then its `Outcome` or exception."""
        news = _News()

        def loading(state: LoadProgress) -> None:
            share = "" if state.fraction is None else f" ({state.fraction:.0%})"
            news.say(None, f"{state.message}{share}")

        def progress(p: JobProgress) -> None:
            number = f", picture {p.picture + 1} of {p.pictures}" if p.pictures > 1 else ""
            news.say(p.preview, f"{p.doing} {p.step} of {p.steps}{number}")

        def waits() -> None:
            news.say(None, "Queued: waiting for other jobs")

        place = nullcontext() if self._places is None else self._places.place(who, cancelled, waits)

        def run() -> None:
            try:
                with place:
                    made = work(JobContext(progress, loading, cancelled, who))
                news.end(Outcome(made, cancelled.is_set()))
            except Cancelled:
                news.end(Outcome(None, True))
            except Exception as error:  # noqa: BLE001 - raised again in `follow`
                news.end(error)

        threading.Thread(target=run, name="tab job", daemon=True).start()
        words = "Starting"
        yield None, words
        while True:
            event = news.take(PULSE)
            if event is None:  # Gradio notices only at an event that the browser is gone
                event = (None, words)
            yield event
            if not isinstance(event, tuple):
                return
            words = event[1]

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


def asker(request: gr.Request | None) -> Asker:
    """Who sends a request: the signed-in user or the page, and the address."""
    peer = getattr(getattr(request, "client", None), "host", None)
    address = address_of(peer, getattr(request, "headers", None) or {})
    return Asker(getattr(request, "username", None) or _session(request), address)


def told(error: Exception) -> gr.Error:
    """What the page says of an error; the log has the rest of one that nobody has foreseen."""
    if not isinstance(error, ArtflowError):
        log.error("a tab's work failed", exc_info=error)
        error = inner_error(error)
    return gr.Error(error.message, title="That did not work", print_exception=False)


def _session(request: gr.Request | None) -> str:
    """The browser's session; empty for API clients without one."""
    return getattr(request, "session_hash", None) or ""


def _outcome(made: list[GeneratedImage], cancelled: bool) -> str:
    if cancelled:
        return f"Cancelled; finished pictures are kept: {len(made)}." if made else "Cancelled."
    words = "Done." if len(made) == 1 else f"Done: {len(made)} pictures."
    return f"{words} {remarks(made)}".strip()


def remarks(made: list[GeneratedImage]) -> str:
    """Notes on the results: hidden pictures, native size, who fills holes, and words that the model does not know."""
    said = [HIDDEN] if any(one.recipe.get("hidden") for one in made) else []
    if made and (size := made[-1].recipe.get("drawn_at")):
        said.append(f"Generated at {size}, the model's own size, and enlarged.")
    if made and made[-1].recipe.get("model") == MODEL:
        said.append("Filled by MI-GAN, the embedded network for photos, which needs no prompt.")
    if made and (words := made[-1].recipe.get("unknown_words")):
        said.append(f"This model does not know: {', '.join(words)}.")
    return " ".join(said)


@contextmanager
def saved(made: list[GeneratedImage]) -> Iterator[list[str]]:
    """Temporary PNG files of the pictures with their recipes; Gradio copies them while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
        paths = []
        for i, one in enumerate(made):
            seed = f"-{one.recipe['seed']}" if "seed" in one.recipe else ""
            path = Path(folder) / f"artflow-{one.recipe['mode']}{seed}-{i}.png"
            path.write_bytes(encode_png(one.picture, one.recipe, one.profile))
            paths.append(str(path))
        yield paths
