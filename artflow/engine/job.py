"""A job: asked once, answered once. All its pictures are offered at once, so that they fill batches."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from artflow.engine.image_spec import ImageSpec
from artflow.engine.request import Request, Status
from artflow.engine.runner import Runner
from artflow.engine.sampling import SamplingPlan, SamplingState
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models.model import Condition

PREVIEW_EVERY = 0.4  # seconds between step previews: a preview is a decode

ImageRequest = Request[SamplingPlan, SamplingState]


@dataclass(frozen=True)
class JobProgress:
    """How far a job is: pictures done and in all, steps of the one that is furthest behind, sometimes a preview of it.

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
    """The pictures of one request. Created anywhere; stepped by the engine's threads; awaited with ``wait``.

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
        self.id = secrets.token_hex(4)
        self.runner = runner
        self.skipped_calls = 0  # calls that went by without a row of this job
        self.last_served = 0.0
        self.in_call = False
        self.wake: Callable[[], None] = lambda: None
        self._specs = list(specs)
        self._waiting = deque(enumerate(self._specs))  # those that are not offered yet
        self._offered: dict[int, ImageRequest] = {}  # those that are, and have not been begun
        self._requests: list[ImageRequest] = []  # in flight
        self._made: dict[int, GeneratedImage] = {}
        self._on_progress = on_progress
        self._doing = doing
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
    def made(self) -> list[GeneratedImage]:
        """The pictures that are finished, in order."""
        return [self._made[number] for number in sorted(self._made)]

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self._finished.is_set()

    @property
    def running(self) -> bool:
        """Whether a picture has been begun and is not finished."""
        return any(request.step > 0 for request in self._requests)

    # -- the engine's threads -------------------------------------------------------------------------------------

    def next(self, now: float) -> list[ImageRequest]:
        """See `Owner`: those in flight first, then all the others whose prompts are ready."""
        if self._cancelled.is_set():
            self._finish()
            return []
        if self.over:
            return []
        while self._waiting and len(self._offered) < self.runner.max_batch:
            number, spec = self._waiting[0]
            wanted = [Condition(spec.prompt), Condition(spec.negative_prompt, negative=True)]
            if (prepared := self.runner.conditions.get(wanted, self.wake)) is None:
                break
            self._waiting.popleft()
            plan = SamplingPlan.of(spec, self.runner, *prepared)
            self._offered[number] = ImageRequest(self, number, self.runner, plan)
        return [*self._requests, *self._offered.values()]

    def enter(self, request: ImageRequest, now: float) -> list[Picture] | None:
        """The source and the masked image, as far as the spec has them."""
        if self._offered.pop(request.number, None) is None:
            return None
        self._requests.append(request)
        spec = request.plan.spec
        masked = spec.masked_image if self.runner.model.inpaints else None
        return [picture for picture in (spec.source, masked) if picture is not None]

    @staticmethod
    def begin(requests: Sequence[ImageRequest], latents: Sequence[torch.Tensor]) -> None:
        """See `Owner`."""
        for request, sources in zip(requests, latents, strict=True):
                request.state = SamplingState(request.plan, request.runner, sources)

    def stepped(self, requests: Sequence[ImageRequest]) -> list[tuple[Request, torch.Tensor]]:
        """See `Owner`: finished pictures, or a preview when one is due."""
        if self.over:
            return []
        wanted = [(r, r.state.latent[0]) for r in requests if r.state is not None and r.state.done]
        now = time.monotonic()
        first = requests[0].state
        assert first is not None
        if not wanted and first.preview is not None and now - self._last_preview > PREVIEW_EVERY:
            self._last_preview = now
            return [(requests[0], first.preview[0])]
        if not wanted:
            self._report(requests[0], None)
        return wanted

    def deliver(self, request: ImageRequest, picture: Picture, flagged: bool) -> None:
        """Take a finished picture or a preview; nobody sees it where it is flagged."""
        assert request.state is not None
        if self.over:
            return
        self._report(request, None if flagged else picture)
        if not request.state.done:
            return
        recipe = request.plan.spec.recipe
        if flagged:
            picture, recipe = np.zeros_like(picture), recipe | {"hidden": True}
        self._made[request.number] = GeneratedImage(picture, recipe)
        self._requests.remove(request)
        request.status = Status.FINISHED
        self.waiting_since = time.monotonic()
        if len(self._made) == len(self._specs):
            self._finish()

    def fail(self, requests: Sequence[ImageRequest], error: ArtflowError) -> None:
        """End the job with an error."""
        if not self.over:
            self._error = error
            self._finish()

    def refuse(self, error: ArtflowError) -> None:
        """End the job with an error."""
        self.fail([], error)

    def end(self, error: ArtflowError) -> None:
        """End the job with an error."""
        self.fail([], error)

    def _finish(self) -> None:
        self._requests, self._offered = [], {}
        self._waiting.clear()
        self._finished.set()

    def _report(self, request: ImageRequest, preview: Picture | None) -> None:
        assert request.state is not None
        done, total = len(self._made), len(self._specs)
        state = request.state
        self._on_progress(JobProgress(done, total, state.step, state.steps, preview, self._doing))
