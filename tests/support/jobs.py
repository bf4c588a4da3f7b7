"""Jobs in tests: asked of the engine, and everything that is heard of them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

from artflow.engine.image_spec import ImageSpec
from artflow.engine.job import Job
from artflow.engine.job_request import GeneratedImage, ImageFinished, JobEnded, JobEvent, JobProgress, JobRequest
from artflow.engine.runner import Runner
from artflow.modes.text import TextParams, image_specs
from tests.support.live import PATIENCE


class Asked(Job):
    """A job whose events are kept: ``seen`` steps, ``made`` pictures. ``on_progress`` hears each step, too."""

    def __init__(
        self, runner: Runner, specs: Sequence[ImageSpec], on_progress: Callable[[JobProgress], Any] | None = None
    ) -> None:
        self.seen: list[JobProgress] = []
        self.made: list[GeneratedImage] = []
        self._on_progress = on_progress
        self._ended = threading.Event()
        self._error: Exception | None = None
        super().__init__(JobRequest(secrets.token_hex(4), runner.model.id, tuple(specs)), runner, self._hear)

    def _hear(self, event: JobEvent) -> None:
        match event:
            case JobProgress():
                self.seen.append(event)
                if self._on_progress is not None:
                    self._on_progress(event)
            case ImageFinished():
                assert event.index == len(self.made)
                self.made.append(event.image)
            case JobEnded():
                self._error = event.error
                self._ended.set()

    def wait(self) -> list[GeneratedImage]:
        """The finished pictures once it has ended; raises what went wrong."""
        assert self._ended.wait(PATIENCE), "the job did not end"
        if self._error is not None:
            raise self._error
        return self.made


def text_job(runner: Runner, on_progress: Callable[[JobProgress], Any] | None = None, **params: Any) -> Asked:
    """A text job of small pictures, four steps each."""
    wanted = {"width": 64, "height": 64, "steps": 4, "seed": 1, "guidance_scale": 1.0} | params
    return Asked(runner, image_specs(TextParams(**wanted), runner.model.info, 1024), on_progress)
