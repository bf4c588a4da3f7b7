"""The engine: a thread that owns the device and goes round schedule, prepare, predict, advance, decode, deliver."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from artflow.engine.engine_metrics import EngineMetrics
from artflow.engine.isolation import as_artflow_error, fail, failing, isolated, settle
from artflow.engine.lane import Lane
from artflow.engine.request import Owner, Request, State, Status
from artflow.engine.runner import Runner
from artflow.engine.scheduler import Scheduler
from artflow.engine.transfer import stream
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.machine import cores

log = logging.getLogger(__name__)

T = TypeVar("T")
V = TypeVar("V")

ROUND_FAILED = 0.05  # seconds to wait then, so that an error that stays does not keep a core busy
LATELY = 0.5  # seconds for which people count as being served live after a step of theirs
LONGEST_PAUSE = 60.0  # seconds: waits take no more than what a clock can count


class Engine:
    """Runs the steps of all sessions and jobs, those that can together in one call.

    ``add`` and ``run_on_engine_thread`` may be used from any thread. ``close`` ends the threads; what is unfinished
    then fails with ``engine_closed``.

    One thread serves live sessions and all rows that are quickly done. Rows that cost more than live sessions can wait
    for run beside it, in a lane of their own.
    """

    def __init__(self, max_rows: int = 16, device: str = "cpu") -> None:
        self.metrics = EngineMetrics()
        self._scheduler = Scheduler(max_rows)
        self._tasks: list[tuple[Callable[[], Any], Future]] = []
        self._device = device
        self._live_stream: Any = None  # on a GPU, what live kernels are launched into
        self._changed = threading.Condition()
        self._news = self._closing = False
        self._lane = Lane(device, lambda: self._round(large=True) == 0, lambda: self.spare_threads, self._wake)
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    # -- any thread ---------------------------------------------------------------------------------------------

    def add(self, owner: Owner) -> None:
        """Serve a session until it is closed, or a job until it is finished."""
        with self._changed:
            if self._closing:
                raise ArtflowError("engine_closed", "The app is shutting down.")
            owner.wake = self._wake
            self._scheduler.add(owner)
        self._wake()

    def run_on_engine_thread(self, task: Callable[[], T]) -> Future[T]:
        """Run a function on the thread that owns the device, before the next step."""
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise ArtflowError("engine_closed", "The app is shutting down.")
            self._tasks.append((task, future))
        self._wake()
        return future

    def cancel(self, job_id: str) -> None:
        """End a job before its next step; nothing happens where there is none of this id any more."""
        with self._changed:
            for job in self._scheduler.jobs:
                job.cancelled |= job.id == job_id
        self._wake()

    @property
    def sessions(self) -> int:
        """Live sessions being served."""
        return sum(not session.over for session in self._scheduler.sessions)

    @property
    def jobs(self) -> int:
        """Jobs that wait or run."""
        return sum(not job.over for job in self._scheduler.jobs)

    @property
    def active_jobs(self) -> int:
        """Jobs with a picture that has been begun."""
        return sum(job.running for job in self._scheduler.jobs)

    @property
    def waiting(self) -> dict[str, int]:
        """Frames of live sessions and pictures of jobs that have not been begun."""
        waiting = {"live": 0, "job": 0}
        for owner in self._scheduler.owners:
            waiting[owner.kind] += owner.waiting
        return waiting

    @property
    def spare_threads(self) -> int:
        """CPU threads for what computes beside the engine: one while people are served live, else all cores."""
        return 1 if time.monotonic() - self._scheduler.served_live < LATELY else cores()

    @property
    def alive(self) -> bool:
        """Whether its thread runs, and the device answers."""
        return self._thread.is_alive() and not self.metrics.device_lost

    def uses(self, runner: Runner) -> bool:
        """Whether anything that is being served needs this model."""
        return any(owner.runner is runner for owner in self._scheduler.owners)

    def close(self) -> None:
        """End the threads after the steps they are in."""
        with self._changed:
            self._closing = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._news = True
            self._changed.notify_all()
        self._lane.wake()

    # -- the engine's threads -------------------------------------------------------------------------------------

    def _loop(self) -> None:
        torch.set_num_threads(1)  # also what threads begin with that compute from now on; `Runner.threads` decides
        with stream(self._device, first=True):
            self._live_stream = torch.cuda.current_stream() if self._device == "cuda" else None
            self._serve()
        self._lane.close()
        error = ArtflowError("engine_closed", "The app is shutting down.")
        for _, future in self._tasks:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        for owner in self._scheduler.owners:
            owner.end(error)

    def _serve(self) -> None:
        while not self._closing:
            try:
                pause = self._round(large=False)
                if self._scheduler.large_waits:
                    self._lane.start(after=self._live_stream)
            except Exception:
                log.exception("a round of the engine failed")
                pause = ROUND_FAILED
            with self._changed:
                if pause > 0 and not self._news and not self._closing:
                    self._changed.wait(min(LONGEST_PAUSE, pause))

    def _round(self, *, large: bool) -> float:
        """All that can be done now; returns the seconds until there may be more.

        A function of its own, so that nothing of a session that has closed lives on in a thread that waits.
        """
        tasks: list[tuple[Callable[[], Any], Future]] = []
        if not large:
            with self._changed:
                self._news = False
                tasks, self._tasks = self._tasks, []
        for task, future in tasks:
            settle(task, future)
        with self._changed, torch.inference_mode():
            now = time.monotonic()
            batch = self._scheduler.schedule(now, large=large)
            if not batch:
                return self._scheduler.due(now) - now
        begun = time.perf_counter()
        try:
            self._step(batch)
        except Exception as error:  # noqa: BLE001 - the owners are told, and the next round is another
            for request in batch:
                fail([request], as_artflow_error(error, request.owner))
        finally:
            for request in batch:
                request.owner.in_call = False
            if large:
                self._wake()
            else:
                self.metrics.stepped(time.perf_counter() - begun)
        return 0.0

    @torch.inference_mode()
    def _step(self, batch: list[Request]) -> None:
        """One call: new pictures in, a step for every request, finished pictures out."""
        prepared = self._prepare(batch)
        predicted = self._isolated(self._predict, prepared)
        advanced = self._advance(predicted)
        decoded = self._isolated(_decode, self._stepped(advanced))
        self._deliver(decoded)

    def _prepare(self, batch: list[Request]) -> list[tuple[Request, State]]:
        """Begin new requests: their pictures are encoded in one call, and their states made together.

        Returns all requests that have a state, with it.
        """
        now = time.monotonic()
        new: list[tuple[Request, list[Picture]]] = []
        for request in batch:
            if request.state is None:
                with failing(request):
                    pictures = request.owner.enter(request, now)
                    request.status = Status.CANCELLED if pictures is None else Status.PREPARING
                    if pictures is not None:
                        new.append((request, pictures))
        encoded = self._isolated(_encode, new)
        for kind in {type(request.owner) for request, _ in encoded}:
            self._isolated(_begin, [item for item in encoded if type(item[0].owner) is kind])
        begun = [(r, r.state) for r in batch if r.state is not None and r.status is not Status.FAILED]
        for request, _ in begun:
            request.status = Status.RUNNING
        return begun

    def _predict(self, items: Sequence[tuple[Request, State]]) -> list[torch.Tensor]:
        """The network's outputs for the rows of each request's coming step."""
        first = items[0][0]
        rows = [state.rows() for _, state in items]
        begun = time.perf_counter()
        output = first.runner.predict([row for those in rows for row in those])
        seconds = time.perf_counter() - begun
        first.runner.cost.observe(first.plan.compat, len(output), seconds)
        self.metrics.called((r.owner.kind for (r, _), those in zip(items, rows, strict=True) for _ in those), seconds)
        return list(output.split([len(those) for those in rows]))

    def _advance(self, predicted: list[tuple[Request, torch.Tensor]]) -> list[Request]:
        """Take the step; returns the requests that have, in the same order."""
        outputs = [(request, output) for request, output in predicted if request.status is not Status.FAILED]
        advanced: set[Request] = set()
        for kind in {type(request.state) for request, _ in outputs if request.state is not None}:
            items = [item for item in outputs if type(item[0].state) is kind]
            for group in [items] if kind.batched else [[item] for item in items]:
                advanced |= {request for request, _ in self._isolated(_take_step, group)}
        for request in advanced:
            request.step += 1
        return [request for request, _ in outputs if request in advanced]

    def _stepped(self, requests: list[Request]) -> list[tuple[Request, torch.Tensor]]:
        """Tell the owners of their steps; returns what is to be decoded."""
        wanted: list[tuple[Request, torch.Tensor]] = []
        mine: dict[int, list[Request]] = {}
        for request in requests:
            if request.status is not Status.FAILED:
                mine.setdefault(id(request.owner), []).append(request)
        for group in mine.values():
            with failing(*group):
                wanted += group[0].owner.stepped(group)
        for request, _ in wanted:
            request.status = Status.DECODING
        return wanted

    def _deliver(self, decoded: list[tuple[Request, tuple[Picture, bool]]]) -> None:
        """Hand the pictures to their owners, with whether they must not be shown."""
        for request, (picture, flagged) in decoded:
            with failing(request):
                request.owner.deliver(request, picture, flagged)

    def _isolated(
        self, compute: Callable[[Sequence[tuple[Request, V]]], Sequence[T]], items: Sequence[tuple[Request, V]]
    ) -> list[tuple[Request, T]]:
        return isolated(compute, items, self.metrics)


def _encode(items: Sequence[tuple[Request, list[Picture]]]) -> list[torch.Tensor]:
    """The clean latents of each request's pictures, (pictures, channels, height, width), one call for all of them."""
    pictures = [picture for _, those in items for picture in those]
    latents = items[0][0].runner.encode(pictures) if pictures else torch.empty(0)
    return list(latents.split([len(those) for _, those in items]))


def _begin(items: Sequence[tuple[Request, torch.Tensor]]) -> Sequence[Any]:
    """Give requests of owners of one kind their state, from the latents of their pictures."""
    items[0][0].owner.begin([request for request, _ in items], [latents for _, latents in items])
    return items


def _take_step(items: Sequence[tuple[Request, torch.Tensor]]) -> Sequence[Any]:
    """Take a step of requests whose states are of one kind, by the network's outputs."""
    states = [request.state for request, _ in items if request.state is not None]
    states[0].advance(states, [output for _, output in items])
    return items


def _decode(items: Sequence[tuple[Request, torch.Tensor]]) -> list[tuple[Picture, bool]]:
    """The picture of each latent, and whether it must not be shown."""
    runner = items[0][0].runner
    pictures = runner.decode(torch.stack([latent for _, latent in items]))
    return list(zip(pictures, runner.flagged(pictures), strict=True))
