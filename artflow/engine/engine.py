"""The engine: one thread that owns the device and goes round schedule, compute, hand back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from artflow.engine.flight import Flight, Step, advance
from artflow.engine.job import Job
from artflow.engine.runner import Runner
from artflow.engine.scheduler import Work, as_artflow_error, schedule
from artflow.engine.session import LiveSession
from artflow.engine.threads import cores
from artflow.errors import ArtflowError
from artflow.images import Picture

log = logging.getLogger(__name__)

T = TypeVar("T")

ROUND_FAILED = 0.05  # seconds to wait then, so that an error that stays does not keep a core busy
LATELY = 0.5  # seconds for which people count as being served live after a step of theirs
LONGEST_PAUSE = 60.0  # seconds: waits take no more than what a clock can count


class Engine:
    """Runs the steps of all sessions and jobs, those that can together in one call.

    ``add`` and ``call`` may be used from any thread. ``close`` ends the thread; what is unfinished then
    fails with ``engine_closed``.
    """

    def __init__(self, max_rows: int = 16) -> None:
        self.calls = 0  # model calls so far
        self.rows = 0  # rows in them
        self._max_rows = max_rows
        self._sessions: list[LiveSession] = []
        self._jobs: list[Job] = []
        self._errands: list[tuple[Callable[[], Any], Future]] = []
        self._served_live = float("-inf")  # when a live step began last
        self._changed = threading.Condition()
        self._news = self._closing = False
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    # -- any thread ---------------------------------------------------------------------------------------------

    def add(self, owner: LiveSession | Job) -> None:
        """Serve a session until it is closed, or a job until it is finished."""
        with self._changed:
            if self._closing:
                raise ArtflowError("engine_closed", "The app is shutting down.")
            if isinstance(owner, LiveSession):
                owner.wake = self._wake
                self._sessions.append(owner)
            else:
                self._jobs.append(owner)
        self._wake()

    def call(self, errand: Callable[[], T]) -> Future[T]:
        """Run a function on the thread that owns the device, before the next step."""
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise ArtflowError("engine_closed", "The app is shutting down.")
            self._errands.append((errand, future))
        self._wake()
        return future

    def cancel(self, job_id: str) -> None:
        """End a job before its next step; nothing happens where there is none of this id any more."""
        with self._changed:
            for job in self._jobs:
                job.cancelled |= job.id == job_id
        self._wake()

    @property
    def sessions(self) -> int:
        """Live sessions being served."""
        return sum(not session.closed for session in self._sessions)

    @property
    def jobs(self) -> int:
        """Jobs that wait or run."""
        return sum(not job.finished for job in self._jobs)

    @property
    def active_jobs(self) -> int:
        """Jobs with a picture that has been begun."""
        return sum(job.in_the_air for job in self._jobs)

    @property
    def spare_threads(self) -> int:
        """CPU threads for what computes beside the engine: one while people are served live, else all cores."""
        return 1 if time.monotonic() - self._served_live < LATELY else cores()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def uses(self, runner: Runner) -> bool:
        """Whether anything that is being served needs this model."""
        owners: list[LiveSession | Job] = [*self._sessions, *self._jobs]
        return any(owner.runner is runner for owner in owners)

    def close(self) -> None:
        """End the thread after the step it is in."""
        with self._changed:
            self._closing = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._news = True
            self._changed.notify()

    # -- the engine's thread --------------------------------------------------------------------------------------

    def _loop(self) -> None:
        torch.set_num_threads(1)  # also what threads begin with that compute from now on; `Runner.threads` decides
        while not self._closing:
            try:
                pause = self._round()
            except Exception:
                log.exception("a round of the engine failed")
                pause = ROUND_FAILED
            self._wait(min(LONGEST_PAUSE, pause))
        error = ArtflowError("engine_closed", "The app is shutting down.")
        for _, future in self._errands:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        for job in self._jobs:
            job.end(error)
        for session in self._sessions:
            session.end(error)

    def _round(self) -> float:
        """All that can be done now; returns the seconds until there may be more.

        A function of its own, so that nothing of a session that has closed lives on in a thread that waits.
        """
        with self._changed:
            self._news = False
            errands, self._errands = self._errands, []
        for errand, future in errands:
            _settle(errand, future)
        sessions, jobs = self._served()  # who came during the errands can join in
        for job in jobs:
            if job.cancelled:
                job.end()
        now = time.monotonic()
        works = schedule(sessions, jobs, now, self._max_rows)
        sessions, jobs = self._served()  # a job that was refused ends there
        if any(isinstance(work.owner, LiveSession) for work in works):
            self._served_live = now
        if not works:
            return min((s.due - now for s in sessions), default=float("inf"))
        try:
            self._step(works)
        except Exception as error:  # noqa: BLE001 - the owners are told, and the next round is another
            for work in works:
                _fail(work, error)
        return 0.0

    def _served(self) -> tuple[list[LiveSession], list[Job]]:
        """Who is served, without those that have ended, which are let go."""
        with self._changed:
            self._sessions = [s for s in self._sessions if not s.closed]
            self._jobs = [j for j in self._jobs if not j.finished]
            return list(self._sessions), list(self._jobs)

    def _wait(self, pause: float) -> None:
        with self._changed:
            if pause > 0 and not self._news and not self._closing:
                self._changed.wait(pause)

    @torch.inference_mode()
    def _step(self, works: list[Work]) -> None:
        """One model call: frames in, a step for every flight, finished pictures out."""
        runner = works[0].owner.runner
        works, latents = self._isolated(_entering, works)
        for work, entering in zip(works, latents, strict=True):
            with _failing(work):
                _take_rows(work, entering)
        works, answers = self._isolated(self._predicted, [work for work in works if work.rows])

        finished: list[tuple[Work, Flight | None, torch.Tensor]] = []
        answered, steps = self._isolated(_advanced, list(zip(works, answers, strict=True)), owner=lambda item: item[0])
        for (work, answer), mine in zip(answered, steps, strict=True):
            with _failing(work):
                if isinstance(work.owner, Job):
                    latent = work.owner.absorb(answer)
                    finished += [(work, None, latent)] if latent is not None else []
                else:
                    work.owner.absorb(mine)
                    finished += [(work, s.flight, s.finished) for s in reversed(mine) if s.finished is not None]

        def decoded(items: Sequence[tuple[Work, Flight | None, torch.Tensor]]) -> list[tuple[Picture, bool]]:
            pictures = runner.decode(torch.stack([latent for _, _, latent in items]))
            return list(zip(pictures, runner.flagged(pictures), strict=True))

        finished, pictures = self._isolated(decoded, finished, owner=lambda item: item[0])
        for (work, flight, _), (picture, flagged) in zip(finished, pictures, strict=True):
            if isinstance(work.owner, Job):
                with _failing(work):
                    work.owner.deliver(picture, flagged)
            elif not work.owner.closed and flight is not None:
                work.owner.deliver(flight, picture, flagged)

    def _predicted(self, works: Sequence[Work]) -> list[torch.Tensor]:
        """The model's answers to each work's rows."""
        rows = [row for work in works for row in work.rows]
        answer = works[0].owner.runner.predict(rows)
        self.calls += 1
        self.rows += len(rows)
        return list(answer.split([len(work.rows) for work in works]))

    def _isolated(
        self,
        compute: Callable[[Sequence[Any]], Sequence[Any]],
        items: list[Any],
        owner: Callable[[Any], Work] = lambda work: work,
    ) -> tuple[list[Any], list[Any]]:
        """``compute`` on all items at once; if that raises, on each alone, so that an error stays with its owner.

        Returns the items that went through and their outcomes.
        """
        if not items:
            return [], []
        try:
            return items, list(compute(items))
        except Exception as error:  # noqa: BLE001 - whatever a model raises ends one owner's frames, not the engine
            if len(items) > 1:
                parts = [self._isolated(compute, [item], owner) for item in items]
                return [i for part, _ in parts for i in part], [o for _, part in parts for o in part]
            _fail(owner(items[0]), error)
            return [], []


def _entering(works: Sequence[Work]) -> list[torch.Tensor]:
    """The clean latents of each work's pictures, (pictures, channels, height, width), one call for all of them.

    A frame brings one picture, or two where its UNet is shown a hole (`Frame.pictures`); other works bring none.
    """
    pictures: list[list[Picture]] = [
        work.frame.pictures(work.owner.plan.size) if isinstance(work.owner, LiveSession) and work.frame else []
        for work in works
    ]
    shown = [picture for those in pictures for picture in those]
    latents = works[0].owner.runner.encode(shown) if shown else torch.empty(0)
    return list(latents.split([len(those) for those in pictures]))


def _take_rows(work: Work, entering: torch.Tensor) -> None:
    """Begin the flight of the frame that enters, and ask for the rows of all that are in the air."""
    if isinstance(work.owner, Job):
        begun = work.owner.flight()
        work.rows = begun.rows() if begun else []
        return
    if work.frame is not None:
        work.flights.insert(0, work.owner.enter(work.frame, entering))
        work.frame = None
    work.rows = [row for flight in work.flights for row in flight.rows()]


def _advanced(answered: Sequence[tuple[Work, torch.Tensor]]) -> list[list[Step]]:
    """The next states of each work's live flights: one arithmetic for all of them."""
    flights = [flight for work, _ in answered for flight in work.flights]
    pieces: list[torch.Tensor] = []
    for work, answer in answered:
        pieces += answer.split([2 if flight.needs_negative else 1 for flight in work.flights]) if work.flights else []
    steps = iter(advance(flights, pieces) if flights else [])
    return [[next(steps) for _ in work.flights] for work, _ in answered]


def _fail(work: Work, error: Exception) -> None:
    told = as_artflow_error(error, work.owner)
    if isinstance(work.owner, Job):
        work.owner.end(told)
    else:
        work.owner.fail(work.frames, told)


@contextmanager
def _failing(work: Work) -> Iterator[None]:
    """What goes wrong inside is the work's alone."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a sampler or a listener may raise anything
        _fail(work, error)


def _settle(errand: Callable[[], Any], future: Future) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(errand())
        except Exception as error:  # noqa: BLE001 - it is the caller's: the future raises it there
            future.set_exception(error)
