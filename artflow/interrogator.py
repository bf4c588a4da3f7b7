"""Who looks at pictures: the embedded towers, or a CLIP model from the Hub; loaded when first asked for, then kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models.catalog import HUB_ID
from artflow.models.dtypes import pick_dtype
from artflow.models.progress import Underway
from artflow.modes.interrogate import Interrogation, check, interrogate
from artflow.modes.lexicon import SUBJECT, Lexicon, published, taught
from artflow.settings import PRESETS, InterrogateSettings
from artflow.watch import Watch, in_thread

if TYPE_CHECKING:
    from artflow.engine.engine import Engine
    from artflow.models.clip import Towers

log = logging.getLogger(__name__)

AUTO, EMBEDDED = "auto", "embedded"
EMBEDDED_TITLE = "the small embedded model"
CLIP = "openai/clip-vit-large-patch14"
ON_CPU = 32  # terms that "best" tries out in each round with a large model on a CPU, where a round takes seconds
ON_GPU = 2048  # as published


@dataclass(frozen=True)
class Answer:
    """What was found, by whom, and what people should know about that."""

    found: Interrogation
    model: str  # title
    note: str = ""


class Looking(Underway):
    """Towers on their way."""

    def __init__(self, title: str) -> None:
        super().__init__(f"Loading {title}")
        self.towers: Future[Towers] = Future()


class Interrogator:
    """Answers what pictures show. Safe from any thread; computes on the engine's, in pieces."""

    def __init__(self, settings: InterrogateSettings, device: str, dtype: str, engine: Callable[[], Engine]) -> None:
        self._settings, self._device, self._dtype, self._engine = settings, device, dtype, engine
        self._lock = threading.Lock()
        self._looking: dict[str, Looking] = {}
        wanted = settings.model_id
        self.clip = CLIP if wanted in (AUTO, EMBEDDED) else wanted
        """The CLIP model that people may choose: its Hub id or folder."""

    @property
    def choices(self) -> dict[str, str]:
        """What people may choose, id to title."""
        automatic = "Automatic (CLIP on a GPU)"
        size = " (downloads 1.7 GB once)" if self.clip == CLIP else ""
        return {
            AUTO: automatic if self._settings.model_id == AUTO else "Automatic (as set up here)",
            EMBEDDED: "Small embedded model",
            self.clip: f"{_title(self.clip)}{size}",
        }

    def answer(self, picture: Picture, mode: str, model: str, watch: Watch) -> Answer | None:
        """What the picture shows; None when cancelled.

        Args:
            picture: any size from 8 x 8
            mode: one of `artflow.modes.interrogate.MODES`
            model: one of `choices`. Where ``auto`` cannot get its model, the embedded one answers and the note says so
            watch: is told of the load and of every step, and may cancel

        Raises:
            ArtflowError: ``bad_parameter``, ``picture_too_small``, ``unknown_model``, ``download_failed``,
                ``model_load_failed``, ``unsafe_weights``, ``bad_settings``.
        """
        check(picture, mode)
        if model not in self.choices:
            known = ", ".join(self.choices)
            raise ArtflowError("unknown_model", f"There is no model {str(model)[:60]!r} here; there are {known}.")
        chosen, note = self._chosen(model), ""
        try:
            towers = self._wait(chosen, watch)
        except ArtflowError as error:
            if model != AUTO or chosen == EMBEDDED:
                raise
            log.warning("the embedded model answers instead: %s", error.message)
            chosen, note = EMBEDDED, f"{error.message} So {EMBEDDED_TITLE} answered."
            towers = self._wait(chosen, watch)
        if towers is None:
            return None
        if chosen == EMBEDDED:
            note = f"{note} It knows {len(_taught().groups[SUBJECT])} things and names the nearest of them.".strip()
        found = self._look(picture, towers, mode, chosen, watch)
        return None if found is None else Answer(found, _title(chosen), note)

    def _chosen(self, model: str) -> str:
        if model != AUTO:
            return model
        if self._settings.model_id == AUTO:
            return self.clip if self._device == "cuda" else EMBEDDED
        return self._settings.model_id

    def _wait(self, chosen: str, watch: Watch) -> Towers | None:
        """The towers, or None when cancelled; a load that has begun goes on then, for whoever asks next."""
        with self._lock:
            looking = self._looking.get(chosen)
            if looking is None or (looking.towers.done() and looking.towers.exception() is not None):
                looking = self._looking[chosen] = Looking(_title(chosen))
                looking.towers = in_thread("load towers", lambda: self._load(chosen, looking))
        return looking.towers.result() if watch.wait_for(looking.towers, looking) else None

    def _load(self, chosen: str, looking: Looking) -> Towers:
        from artflow.models import clip

        if chosen == EMBEDDED:
            source: str | Path = clip.EMBEDDED
        else:
            source = chosen if HUB_ID.fullmatch(chosen) and not Path(chosen).is_dir() else Path(chosen)
        # On a CPU always float32: bfloat16 moves a similarity by 0.003, more than near terms of a long list differ.
        dtype = pick_dtype(self._dtype if self._device == "cuda" else "float32", self._device)
        return clip.load_towers(source, _title(chosen), device=self._device, dtype=dtype, on_progress=looking.say)

    def _look(self, picture: Picture, towers: Towers, mode: str, chosen: str, watch: Watch) -> Interrogation | None:
        from artflow.engine.job import Progress
        from artflow.models.features import default_folder

        def progress(doing: str, done: int, total: int) -> None:
            watch.on_progress(Progress(0, 1, done, total, doing=doing))

        terms = _taught() if chosen == EMBEDDED else published(self._settings.lists, PRESETS / "interrogate")
        engine = self._engine()
        return interrogate(
            picture, towers, terms, mode,
            candidates=ON_GPU if self._device == "cuda" or chosen == EMBEDDED else ON_CPU,
            folder=self._settings.cache or default_folder(),
            run=lambda work: engine.call(work).result(),
            on_progress=progress, cancelled=watch.cancelled,
        )  # fmt: skip


def _taught() -> Lexicon:
    from artflow.models.clip import EMBEDDED as folder

    return taught(folder.parent / "concepts.json")


def _title(chosen: str) -> str:
    return EMBEDDED_TITLE if chosen == EMBEDDED else "CLIP ViT-L/14" if chosen == CLIP else Path(chosen).name
