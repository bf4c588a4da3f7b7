"""Jobs in tests: asked of the engine, and everything that is heard of them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from artflow.engine.image_spec import ImageSpec
from artflow.engine.job import Job
from artflow.engine.job_request import GeneratedImage, ImageFinished, JobEnded, JobEvent, JobProgress, JobRequest
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplingPlan, SamplingState
from artflow.modes.text import TextParams, image_specs
from tests.support.live import PATIENCE


class Asked(Job):
    """A job whose events are kept: ``seen`` steps, ``made`` pictures. ``on_progress`` hears each step, too."""

    def __init__(
        self, runner: Runner, specs: Sequence[ImageSpec], on_progress: Callable[[JobProgress], Any] | None = None
    ) -> None:
        self.seen: list[JobProgress] = []
        self._images: dict[int, GeneratedImage] = {}
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
                assert event.index not in self._images
                self._images[event.index] = event.image
            case JobEnded():
                self._error = event.error
                self._ended.set()

    @property
    def made(self) -> list[GeneratedImage]:
        """The pictures that are finished, in the order in which they were asked for."""
        return [self._images[index] for index in sorted(self._images)]

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


def sampling_state(runner: Runner, spec: ImageSpec, *sources: torch.Tensor) -> SamplingState:
    """A picture before its first step, outside of the engine; ``sources`` are latents, those of the spec by default."""
    if not sources and spec.source is not None:
        sources = (runner.encode([spec.source])[0],)
    positive = runner.conditions.encode(spec.prompt)
    negative = runner.conditions.encode(spec.negative_prompt, negative=True)
    plan = SamplingPlan.of(spec, runner, positive, negative)
    return SamplingState(plan, runner, torch.stack(sources) if sources else torch.empty(0))


@torch.inference_mode()
def all_steps(runner: Runner, state: SamplingState) -> torch.Tensor:
    """The finished latent, of shape (1, channels, height, width)."""
    while not state.done:
        SamplingState.advance([state], [runner.predict(state.rows())])
    return state.latent
