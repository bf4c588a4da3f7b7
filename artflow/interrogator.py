"""Who looks at pictures: the embedded models, or a CLIP model from the Hub; loaded when first asked for, then kept.

Of the embedded ones, the photo classifier tells first what it is: photos and paintings it names itself, beside the face
detector; drawings and icons go to the towers of the drawing model.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from artflow.engine.job_request import JobProgress
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.job_context import Errand, JobContext, in_thread
from artflow.models import hub
from artflow.models.catalog import HUB_ID
from artflow.models.dtypes import pick_dtype
from artflow.models.progress import LoadProgress
from artflow.modes.interrogate import Interrogation, check, interrogate
from artflow.modes.term_lists import SUBJECT, TermLists, published, taught
from artflow.settings import PRESETS, InterrogateSettings

if TYPE_CHECKING:
    from artflow.models.clip import SharedTowers

log = logging.getLogger(__name__)

AUTO, EMBEDDED = "auto", "embedded"
EMBEDDED_TITLE = "the embedded models"
DRAWINGS_TITLE, PHOTOS_TITLE = "the small embedded model", "the embedded photo classifier"  # who of them answered
CLIP = "openai/clip-vit-large-patch14"
ON_CPU = 32  # terms that "best" tries out in each round with a large model on a CPU, where a round takes seconds
ON_GPU = 2048  # as published
ASK_AGAIN = 300.0  # seconds after which "auto" tries again for a model that it could not get


@dataclass(frozen=True)
class Answer:
    """What was found, by whom, and what people should know about that."""

    found: Interrogation
    model: str  # title
    note: str = ""


class ClipHandle(LoadProgress):
    """A CLIP model that is being loaded: its progress, and the towers in the end."""

    def __init__(self, title: str) -> None:
        super().__init__(f"Loading {title}")
        self.towers: Future[SharedTowers] = Future()


class Interrogator:
    """Answers what pictures show. Safe from any thread; ``errand`` computes where the device is
    (`EngineClient.errand`)."""

    def __init__(self, settings: InterrogateSettings, device: str, dtype: str, errand: Errand) -> None:
        self._settings, self._device, self._dtype, self._errand = settings, device, dtype, errand
        self._lock = threading.Lock()
        self._handles: dict[str, ClipHandle] = {}
        self._missed: tuple[float, str] | None = None  # when "auto" could not get its model, and why
        wanted = settings.model_id
        self.clip = CLIP if wanted in (AUTO, EMBEDDED) else wanted
        """The CLIP model that people may choose: its Hub id or folder."""

    @property
    def choices(self) -> dict[str, str]:
        """What people may choose, id to title."""
        return {AUTO: "Automatic", EMBEDDED: "Embedded models", self.clip: _title(self.clip)}

    @property
    def about(self) -> str:
        """What people should know before they choose."""
        size = " (1.7 GB, once)" if self.clip == CLIP else ""
        if self._settings.model_id == EMBEDDED:
            return f"Automatic: {EMBEDDED_TITLE}. {_title(self.clip)} knows far more{size}."
        return f"Automatic: {_title(self.clip)} where it can be downloaded{size}; else {EMBEDDED_TITLE}."

    def answer(self, picture: Picture, mode: str, model: str, context: JobContext) -> Answer | None:
        """What the picture shows; None when cancelled.

        Args:
            picture: any size from 8 x 8
            mode: one of `artflow.modes.interrogate.MODES`
            model: one of `choices`. Where ``auto`` cannot get its model, the embedded one answers and the note says so
            context: reports the load and every step, and cancels

        Raises:
            ArtflowError: ``bad_parameter``, ``picture_too_small``, ``unknown_model``, ``download_failed``,
                ``model_load_failed``, ``unsafe_weights``, ``bad_settings``.
        """
        check(picture, mode)
        if not isinstance(model, str) or model not in self.choices:
            known = ", ".join(self.choices)
            raise ArtflowError("unknown_model", f"There is no model {str(model)[:60]!r} here; there are {known}.")
        chosen, note = model, ""
        if model == AUTO:
            chosen, note = self._automatic(context)
        if chosen == EMBEDDED and (answer := self._photo(picture, mode, note, context)) is not None:
            return None if context.cancelled.is_set() else answer
        towers = self._wait(chosen, context)
        if towers is None:
            return None
        if chosen == EMBEDDED:
            note = f"{note} It knows only {len(_taught().groups[SUBJECT])} things and names the nearest.".strip()
        found = self._look(picture, towers, mode, chosen, context)
        return None if found is None else Answer(found, DRAWINGS_TITLE if chosen == EMBEDDED else _title(chosen), note)

    def _photo(self, picture: Picture, mode: str, note: str, context: JobContext) -> Answer | None:
        """The photo classifier's answer; None for a drawing."""
        from artflow.models import classifier, faces
        from artflow.modes.describe import describe, subject

        context.on_progress(JobProgress(0, 1, 1, 1, doing="Looking at picture"))
        self._errand(classifier.load, self._device, long=True)
        look = self._errand(classifier.look, picture, self._device)
        if look.media[0][0] == classifier.DRAWING:
            return None
        found_faces = self._errand(faces.find_faces, picture, long=True)
        shown = subject(look, found_faces)
        if shown.people:
            sure = "It found this by faces."
        elif shown.sure:
            sure = f"It is {shown.share:.0%} sure of {shown.name}."
        else:
            sure = f"It is not sure: {shown.share:.0%} at most."
        note = f"{note} It names {len(look.names)} things and people. {sure}".strip()
        return Answer(describe(picture, look, found_faces, mode), PHOTOS_TITLE, note)

    def _automatic(self, context: JobContext) -> tuple[str, str]:
        """Who answers where nobody was named, and what people should know about that: CLIP, if it can be had."""
        if self._settings.model_id == EMBEDDED:
            return EMBEDDED, ""
        if self._missed is None or monotonic() - self._missed[0] > ASK_AGAIN:
            try:
                self._wait(self.clip, context)
            except ArtflowError as error:
                log.warning("the embedded model answers instead: %s", error.message)
                self._missed = monotonic(), error.message  # not the error, which holds all that was loaded so far
            else:
                return self.clip, ""
        return EMBEDDED, f"{self._missed[1]} Used instead: {EMBEDDED_TITLE}."

    def _wait(self, chosen: str, context: JobContext) -> SharedTowers | None:
        """The towers, or None when cancelled; a load that has begun goes on then, for whoever asks next."""
        with self._lock:
            handle = self._handles.get(chosen)
            if handle is None or (handle.towers.done() and handle.towers.exception() is not None):
                handle = self._handles[chosen] = ClipHandle(_title(chosen))
                handle.towers = in_thread("load towers", lambda: self._load(chosen, handle))
        return handle.towers.result() if context.wait_for(handle.towers, handle) else None

    def _load(self, chosen: str, handle: ClipHandle) -> SharedTowers:
        from artflow.models import clip

        if chosen == EMBEDDED:
            source: str | Path = clip.EMBEDDED
        else:
            source = chosen if HUB_ID.fullmatch(chosen) and not Path(chosen).is_dir() else Path(chosen)
        # On a CPU always float32: bfloat16 moves a similarity by 0.003, more than near terms of a long list differ.
        dtype = pick_dtype(self._dtype if self._device == "cuda" else "float32", self._device)
        folder = hub.download_clip(source, on_progress=handle.say) if isinstance(source, str) else source
        handle.say(f"Loading {_title(chosen)}", None)
        about = folder, _title(chosen), self._device, str(dtype).removeprefix("torch.")
        towers: SharedTowers = self._errand(clip.shared_towers, *about, long=True)
        return towers

    def _look(
        self, picture: Picture, towers: SharedTowers, mode: str, chosen: str, context: JobContext
    ) -> Interrogation | None:
        from artflow.models.features import default_folder

        def progress(doing: str, done: int, total: int) -> None:
            context.on_progress(JobProgress(0, 1, done, total, doing=doing))

        terms = _taught() if chosen == EMBEDDED else published(self._settings.lists, PRESETS / "interrogate")
        return interrogate(
            picture, towers, terms, mode,
            candidates=ON_GPU if self._device == "cuda" or chosen == EMBEDDED else ON_CPU,
            folder=self._settings.cache or default_folder(),
            errand=self._errand,
            on_progress=progress, cancelled=context.cancelled,
        )  # fmt: skip


def _taught() -> TermLists:
    from artflow.models.clip import EMBEDDED as folder

    return taught(folder.parent / "concepts.json")


def _title(chosen: str) -> str:
    return EMBEDDED_TITLE if chosen == EMBEDDED else "CLIP ViT-L/14" if chosen == CLIP else Path(chosen).name
