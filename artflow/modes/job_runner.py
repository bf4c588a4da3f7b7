"""How a mode gets its pictures made: by rounds of pictures on a loaded model, told about and cancelled as one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artflow.engine.engine import Engine
from artflow.engine.image_spec import ImageSpec
from artflow.engine.job import GeneratedImage, Job, JobProgress
from artflow.engine.runner import Runner
from artflow.errors import HIDDEN, ArtflowError

log = logging.getLogger(__name__)


def shown(made: list[GeneratedImage]) -> list[GeneratedImage]:
    """These pictures, for a work that has no use for one that must not be shown.

    Raises:
        ArtflowError: ``hidden``.
    """
    if any(one.recipe.get("hidden") for one in made):
        raise ArtflowError("hidden", HIDDEN)
    return made


@dataclass(frozen=True)
class JobRunner:
    """Makes the pictures of a request on a loaded model; a request may need several rounds."""

    engine: Engine
    runner: Runner
    on_progress: Callable[[JobProgress], None]
    cancelled: threading.Event
    about: Mapping[str, Any]  # for the log

    def __call__(self, specs: Sequence[ImageSpec], doing: str = "Step") -> list[GeneratedImage]:
        """The finished pictures, fewer than asked for when it was cancelled. ``doing`` names a step to who waits.

        Raises:
            ArtflowError: what went wrong on the way.
        """
        job = Job(self.runner, specs, self.on_progress, self.cancelled, doing)
        log.info("a job of %d pictures", len(specs), extra={"job": job.id, **self.about})
        self.engine.add(job)
        return job.wait()
