"""A job in the engine: its pictures are made one after the other, row by row beside live sessions."""

from __future__ import annotations

import logging
import time

import numpy as np
import torch

from artflow.engine.job_request import GeneratedImage, ImageFinished, JobEnded, JobProgress, JobRequest, OnEvent
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplerFlight, begin
from artflow.errors import ArtflowError
from artflow.images import Picture

log = logging.getLogger(__name__)

PREVIEW_EVERY = 0.4  # seconds between step previews: a preview is a decode


class Job:
    """One request on its way. Created anywhere; all else belongs to the engine's thread, which also calls ``on_event``.

    ``on_event`` must not block. It hears of each step and each finished picture, and `JobEnded` once, at last.
    """

    def __init__(self, request: JobRequest, runner: Runner, on_event: OnEvent) -> None:
        self.id = request.id
        self.runner = runner
        self.finished = False  # nothing more will happen
        self.cancelled = False  # set by any thread; the engine ends the job before its next step
        self.skipped_calls = 0  # model calls that went by without this job's row
        self._specs = request.specs
        self._on_event = on_event
        self._made = 0
        self._flight: SamplerFlight | None = None
        self._last_preview = self.waiting_since = time.monotonic()  # its last picture's end, or its own beginning

    @property
    def in_the_air(self) -> bool:
        """Whether a picture has been begun and is not finished."""
        return self._flight is not None and self._flight.step > 0

    def flight(self) -> SamplerFlight | None:
        """The picture in the air, begun where there is none; None once the job is over."""
        if self.finished:
            return None
        if self._flight is None:
            self._flight = begin(self._specs[self._made], self.runner)
        return self._flight

    def absorb(self, answer: torch.Tensor) -> torch.Tensor | None:
        """Take the model's answer; returns a latent to decode: the finished one, or a preview when one is due."""
        flight = self._flight
        assert flight is not None
        flight.advance(answer)
        if flight.done:
            return flight.latent[0]
        now = time.monotonic()
        if flight.preview is not None and now - self._last_preview > PREVIEW_EVERY:
            self._last_preview = now
            return flight.preview[0]
        self._report(None)
        return None

    def deliver(self, picture: Picture, flagged: bool = False) -> None:
        """Take the decoded latent that `absorb` asked for; nobody sees it where it is flagged."""
        flight = self._flight
        assert flight is not None
        self._report(None if flagged else picture)
        if flight.done:
            recipe = self._specs[self._made].recipe
            if flagged:
                picture, recipe = np.zeros_like(picture), recipe | {"hidden": True}
            self._on_event(ImageFinished(self._made, GeneratedImage(picture, recipe)))
            self._made += 1
            self._flight = None
            self.waiting_since = time.monotonic()
            if self._made == len(self._specs):
                self.end()

    def end(self, error: ArtflowError | None = None) -> None:
        """End the job, perhaps before all is made; does nothing where it has ended."""
        if self.finished:
            return
        self.finished = True
        self._flight = None
        try:
            self._on_event(JobEnded(error))
        except Exception:
            log.exception("a job's listener failed", extra={"job": self.id})

    def _report(self, preview: Picture | None) -> None:
        assert self._flight is not None
        flight, total = self._flight, len(self._specs)
        self._on_event(JobProgress(self._made, total, flight.step, flight.steps, preview))
