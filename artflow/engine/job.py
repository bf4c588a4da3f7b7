"""A job: asked once, answered once. Its pictures are made one after the other, row by row beside live sessions."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from artflow.engine.image_spec import ImageSpec
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplerFlight, begin
from artflow.errors import ArtflowError
from artflow.images import Picture

PREVIEW_EVERY = 0.4  # seconds between step previews: a preview is a decode


@dataclass(frozen=True)
class JobProgress:
    """How far a job is: pictures done and in all, steps of the current one, and sometimes a preview of it.

    ``doing`` is what a step is called to people, so that they can tell the passes of a longer work.
    """

    picture: int
    pictures: int
    step: int
    steps: int
    preview: Picture | None = None
    doing: str = "Step"


@dataclass(frozen=True)
class GeneratedImage:
    """A finished picture and what made it. One that must not be shown is black, and its recipe has ``hidden``."""

    picture: Picture
    recipe: dict[str, Any]


class Job:
    """The pictures of one request. Created anywhere; stepped by the engine's thread; awaited with ``wait``.

    Setting ``cancelled`` ends it before its next step.
    """

    def __init__(
        self,
        runner: Runner,
        specs: Sequence[ImageSpec],
        on_progress: Callable[[JobProgress], None] = lambda _: None,
        cancelled: threading.Event | None = None,
        doing: str = "Step",
    ) -> None:
        self.id = secrets.token_hex(4)  # for the log
        self.runner = runner
        self.made: list[GeneratedImage] = []
        self.skipped_calls = 0  # model calls that went by without this job's row
        self._specs = list(specs)
        self._on_progress = on_progress
        self._doing = doing
        self._flight: SamplerFlight | None = None
        self._finished = threading.Event()
        self._cancelled = cancelled or threading.Event()
        self._error: ArtflowError | None = None
        self._last_preview = self.waiting_since = time.monotonic()  # its last picture's end, or its own beginning

    # -- any thread ---------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> list[GeneratedImage]:
        """The finished pictures, fewer than asked for when it was cancelled.

        Raises:
            ArtflowError: what went wrong, or ``timeout``.
        """
        if not self._finished.wait(timeout):
            raise ArtflowError("timeout", f"The job did not finish within {timeout} seconds.")
        if self._error is not None:
            raise self._error
        return self.made

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self._finished.is_set()

    @property
    def in_the_air(self) -> bool:
        """Whether a picture has been begun and is not finished."""
        return self._flight is not None and self._flight.step > 0

    # -- the engine's thread --------------------------------------------------------------------------------------

    def flight(self) -> SamplerFlight | None:
        """The picture in the air, begun where there is none; None once the job is over."""
        if self._cancelled.is_set():
            self._finished.set()
            return None
        if self._flight is None:
            self._flight = begin(self._specs[len(self.made)], self.runner)
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
            recipe = self._specs[len(self.made)].recipe
            if flagged:
                picture, recipe = np.zeros_like(picture), recipe | {"hidden": True}
            self.made.append(GeneratedImage(picture, recipe))
            self._flight = None
            self.waiting_since = time.monotonic()
            if len(self.made) == len(self._specs):
                self._finished.set()

    def fail(self, error: ArtflowError) -> None:
        """End the job with an error."""
        self._error = error
        self._flight = None
        self._finished.set()

    def _report(self, preview: Picture | None) -> None:
        assert self._flight is not None
        done, total = len(self.made), len(self._specs)
        self._on_progress(JobProgress(done, total, self._flight.step, self._flight.steps, preview, self._doing))
