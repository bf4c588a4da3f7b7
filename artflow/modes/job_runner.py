"""How a mode gets its pictures made: by rounds of pictures on a loaded model, told about and cancelled as one."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any

from artflow.engine.client import EngineClient
from artflow.engine.image_spec import ImageSpec
from artflow.engine.job_request import GeneratedImage, ImageFinished, JobEnded, JobEvent, JobProgress, JobRequest
from artflow.errors import HIDDEN, ArtflowError, Cancelled
from artflow.job_context import JobContext
from artflow.models.info import ModelInfo

log = logging.getLogger(__name__)

CANCEL_HEARD = 0.1  # seconds at most until a cancel is heard while nothing else happens


def shown(images: list[GeneratedImage]) -> list[GeneratedImage]:
    """The pictures, unless the safety check hid one of them.

    Raises:
        ArtflowError: ``hidden``.
    """
    if any(image.recipe.get("hidden") for image in images):
        raise ArtflowError("hidden", HIDDEN)
    return images


@dataclass(frozen=True)
class JobRunner:
    """Runs jobs of one request on a loaded model; a request may need several."""

    client: EngineClient
    model: ModelInfo
    context: JobContext
    about: Mapping[str, Any]  # for the log

    def __call__(
        self, specs: Sequence[ImageSpec], doing: str | Callable[[int], str] = "Step"
    ) -> list[GeneratedImage | None]:
        """The pictures of one round, all of them asked for at once; None for those that a cancel came before.

        ``doing`` is what a step is called to who waits. A function is given the index of the picture; its words then
        say which picture it is.

        Raises:
            ArtflowError: what went wrong on the way.
        """
        images: list[GeneratedImage | None] = [None] * len(specs)
        if not specs:
            return images
        events: SimpleQueue[JobEvent] = SimpleQueue()
        request = JobRequest(secrets.token_hex(4), self.model.id, tuple(specs), self.context.who.person)
        log.info("a job of %d pictures", len(specs), extra={"job": request.id, **self.about})
        self.client.submit(request, events.put)
        try:
            for event in self._until_cancelled(events):
                match event:
                    case JobProgress():
                        self.context.on_progress(_named(event, doing))
                    case ImageFinished():
                        images[event.index] = event.image
                    case JobEnded():
                        if event.error is not None:
                            raise event.error.with_traceback(None)  # the engine tells many of the same one
                        break
        finally:
            self.client.cancel(request.id)
        return images

    def complete(self, specs: Sequence[ImageSpec], doing: str | Callable[[int], str] = "Step") -> list[GeneratedImage]:
        """As a call, for a work that has no use for some of the pictures.

        Raises:
            Cancelled: before all of them were made.
            ArtflowError: what went wrong on the way.
        """
        images = [image for image in self(specs, doing) if image is not None]
        if len(images) < len(specs):
            raise Cancelled
        return images

    def _until_cancelled(self, events: SimpleQueue[JobEvent]) -> Iterator[JobEvent]:
        while not self.context.cancelled.is_set():
            try:
                yield events.get(timeout=CANCEL_HEARD)
            except Empty:
                continue


def _named(progress: JobProgress, doing: str | Callable[[int], str]) -> JobProgress:
    if isinstance(doing, str):
        return replace(progress, doing=doing)
    return replace(progress, doing=doing(progress.picture), picture=0, pictures=1)
