"""A job in the engine: asked once, answered once. All its pictures are offered at once, so that they fill batches."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch

from artflow.engine.job_request import GeneratedImage, ImageFinished, JobEnded, JobProgress, JobRequest, OnEvent
from artflow.engine.request import Request, Status
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplingPlan, SamplingState
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models.model import Condition

log = logging.getLogger(__name__)

PREVIEW_EVERY = 0.4  # seconds between step previews: a preview is a decode

ImageRequest = Request[SamplingPlan, SamplingState]


class Job:
    """One request on its way. Created anywhere; all else belongs to the engine's threads, which call ``on_event``.

    ``on_event`` must not block. It hears of each step and each finished picture, and `JobEnded` once, at last.
    """

    kind: ClassVar[Literal["job"]] = "job"

    def __init__(self, request: JobRequest, runner: Runner, on_event: OnEvent) -> None:
        self.id = request.id
        self.person = request.person or request.id
        self.runner = runner
        self.over = False
        self.cancelled = False
        self.skipped_calls = 0
        self.last_served = 0.0
        self.in_call = False
        self.wake: Callable[[], None] = lambda: None
        self._specs = request.specs
        self._waiting = deque(enumerate(request.specs))  # pictures whose prompts and networks are not there yet
        self._offered: dict[int, ImageRequest] = {}  # prepared and not begun, by index
        self._requests: list[ImageRequest] = []  # in flight
        self._finished = 0  # pictures
        self._on_event = on_event
        self._last_preview = self.waiting_since = time.monotonic()  # its last picture's end, or its own beginning

    @property
    def waiting(self) -> int:
        """Pictures that have not been begun."""
        return len(self._waiting) + len(self._offered)

    @property
    def running(self) -> bool:
        """Whether a picture has been begun and is not finished."""
        return any(request.step > 0 for request in self._requests)

    def next(self, now: float) -> list[ImageRequest]:
        """See `Owner`: pictures in flight first, then those whose prompts are prepared."""
        if self.cancelled:
            self.end()
        if self.over:
            return []
        while self._waiting and len(self._offered) < self.runner.max_batch:
            index, spec = self._waiting[0]
            loras = tuple((use.name, use.weight) for use in spec.loras)
            more = (("loras", loras),) if loras else ()
            wanted = [Condition(spec.prompt, more=more), Condition(spec.negative_prompt, negative=True, more=more)]
            if (prepared := self.runner.conditions.get(wanted, self.wake)) is None:
                break
            if not self.runner.controls.ready((control.unit.kind for control in spec.controls), self.wake):
                break
            self._waiting.popleft()
            plan = SamplingPlan.of(spec, self.runner, *prepared)
            self._offered[index] = ImageRequest(self, index, self.runner, plan)
        return [*self._requests, *self._offered.values()]

    def enter(self, request: ImageRequest, now: float) -> list[Picture] | None:
        """See `Owner`: the source and the masked image, as far as the spec has them."""
        if self._offered.pop(request.number, None) is None:
            return None
        self._requests.append(request)
        spec = request.plan.spec
        masked = spec.masked_image if self.runner.model.inpaints and spec.mask is not None else None
        return [picture for picture in (spec.source, masked) if picture is not None]

    @staticmethod
    def begin(requests: Sequence[ImageRequest], latents: Sequence[torch.Tensor]) -> None:
        """See `Owner`."""
        for request, sources in zip(requests, latents, strict=True):
            spec = request.plan.spec
            maps = [control.sized(spec.size) for control in spec.controls]
            request.state = SamplingState(request.plan, request.runner, sources, maps)

    def stepped(self, requests: Sequence[ImageRequest]) -> list[tuple[ImageRequest, torch.Tensor]]:
        """See `Owner`: finished pictures, or a preview when one is due."""
        if self.over:
            return []
        if wanted := [(r, r.state.latent[0]) for r in requests if r.state is not None and r.state.done]:
            return wanted
        first, now = requests[0], time.monotonic()
        assert first.state is not None
        if first.state.preview is not None and now - self._last_preview > PREVIEW_EVERY:
            self._last_preview = now
            return [(first, first.state.preview[0])]
        self._report(first, None)
        return []

    def deliver(self, request: ImageRequest, picture: Picture, flagged: bool) -> None:
        """See `Owner`: a finished picture or a preview."""
        assert request.state is not None
        if self.over:
            return
        self._report(request, None if flagged else picture)
        if not request.state.done:
            return
        recipe = request.plan.spec.recipe
        if flagged:
            picture, recipe = np.zeros_like(picture), recipe | {"hidden": True}
        self._on_event(ImageFinished(request.number, GeneratedImage(picture, recipe)))
        request.status = Status.FINISHED
        self._requests.remove(request)
        self._finished += 1
        self.waiting_since = time.monotonic()
        if self._finished == len(self._specs):
            self.end()

    def fail(self, requests: Sequence[ImageRequest], error: ArtflowError) -> None:
        """See `Owner`: a job without one of its pictures is of no use, so all of it ends."""
        self.end(error)

    def refuse(self, error: ArtflowError) -> None:
        """See `Owner`."""
        self.end(error)

    def end(self, error: ArtflowError | None = None) -> None:
        """End the job, perhaps before all is made; does nothing where it has ended."""
        if self.over:
            return
        self.over = True
        self._requests, self._offered = [], {}
        self._waiting.clear()
        try:
            self._on_event(JobEnded(error))
        except Exception:
            log.exception("a job's listener failed", extra={"job": self.id})

    def _report(self, request: ImageRequest, preview: Picture | None) -> None:
        assert request.state is not None
        state, total = request.state, len(self._specs)
        self._on_event(JobProgress(self._finished, total, state.step, state.steps, preview))
