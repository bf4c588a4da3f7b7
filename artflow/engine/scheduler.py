"""Picks what shares the next call, and computes nothing.

Requests can share a call when they are of one model and their rows have the same shapes. Live sessions go before jobs,
who waited longest goes first, all jobs of a person wait as one, and a job whose turn it is is left out of one call at
most. While people are live, jobs bring about as much as live sessions do, so that these keep half of the device. Rows
that cost more by themselves than live pictures can wait for are large, and are picked for a lane of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeVar

from artflow.engine.isolation import as_artflow_error
from artflow.engine.request import JobOwner, LiveOwner, Owner, Request
from artflow.errors import ArtflowError

log = logging.getLogger(__name__)

LARGE_SECONDS = 0.15  # what makes a row a large one
JOB_SECONDS = 1.0  # what jobs' rows in a call may cost while nobody is live: a job is cancelled between two calls

AnyOwner = TypeVar("AnyOwner", LiveOwner, JobOwner)


class Scheduler:
    """Holds all who have requests. Not safe from several threads at once."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.sessions: list[LiveOwner] = []
        self.jobs: list[JobOwner] = []
        self.large_waits = False
        """Whether rows wait that are too costly to share the device with live ones."""
        self.served_live = float("-inf")
        """When a live step was scheduled last that is not a large one (monotonic seconds)."""
        self._finished: dict[str, float] = {}  # when the last job of a person who has others was over
        self._live_cost = 0.0  # estimated seconds of the live rows of the last call that had any

    def add(self, owner: Owner) -> None:
        """Serve a live session or a job until it is over."""
        if owner.kind == "live":
            self.sessions.append(owner)
        else:
            self.jobs.append(owner)

    @property
    def owners(self) -> list[Owner]:
        """All who are served."""
        return [*self.jobs, *self.sessions]

    def remove_finished(self) -> None:
        """Let go of those that are over, and of what they have in flight."""
        over = [owner for owner in self.owners if owner.over]
        self.sessions = [session for session in self.sessions if session not in over]
        ended = {job.person: job.waiting_since for job in self.jobs if job in over}
        self.jobs = [job for job in self.jobs if job not in over]
        people = {job.person for job in self.jobs}
        self._finished = {person: at for person, at in (self._finished | ended).items() if person in people}
        for owner in over:
            try:
                owner.end(ArtflowError("session_closed", "This session has ended."))
            except Exception:
                log.exception("an owner could not be told of its end", extra={"owner": owner.id})

    def due(self, now: float) -> float:
        """When the next session has something to do that no event announces (monotonic seconds).

        Who is due and was not picked waits for an event: its prompts, the other lane.
        """
        times = (session.due for session in self.sessions if not session.in_call)
        return min((due for due in times if due > now), default=float("inf"))

    def schedule(self, now: float, *, large: bool) -> list[Request]:
        """The requests of the next call, with their owners marked; empty when nothing is ready. Who is over is let go.

        ``now`` is monotonic seconds. ``large`` picks among the rows that are too costly to share the device with live
        ones, else among all others. An owner whose settings cannot be prepared is told so and left out.
        """
        self.remove_finished()
        self.large_waits = False
        live = list(self._offers(sorted(self.sessions, key=lambda session: session.last_served), now, large))
        if live:
            turn = self._turn(now, max(self.max_rows // 2, 1), self._live_cost, large)
        else:
            turn = self._turn(now, self.max_rows, JOB_SECONDS, large)
        late = [offer for offer in turn if offer[0].skipped_calls]
        others = [offer for offer in turn if not offer[0].skipped_calls]

        served: list[Owner] = []
        picked: list[Request] = []
        for owner, requests in chain[tuple[Owner, list[Request]]](late, live, others):
            if not picked or self._fits(picked, requests, self.max_rows):
                picked += requests
                served.append(owner)
        mine = [request for owner, requests in live if owner in served for request in requests]
        live_cost = _cost(mine) if mine else self._live_cost
        self.remove_finished()  # a job that was cancelled or refused has ended meanwhile

        # Marks come last: the engine takes them off after the call, of which there is none where anything raises.
        self._live_cost = live_cost
        if mine and not large:
            self.served_live = now
        for owner in served:
            owner.in_call, owner.last_served = True, now
        for job, _ in turn:
            job.skipped_calls = 0 if job.in_call or not picked else job.skipped_calls + 1
        return picked

    def _turn(self, now: float, room: int, seconds: float, large: bool) -> list[tuple[JobOwner, list[Request]]]:
        """The jobs whose turn it is, with what each may bring: all can share one call, with at most ``room`` rows and
        of at most so many ``seconds``, or with a single row.

        The others wait in line. A job keeps its turn for the pictures it has begun; then those go first that have
        waited longest, and each person gets as much of the room. That leaves every second call to live sessions,
        however many jobs there are.
        """
        since = {job.person: self._waiting_since(job.person) for job in self.jobs}
        line = sorted(self.jobs, key=lambda job: (not job.running, since[job.person], job.waiting_since))
        turn: list[tuple[JobOwner, list[Request]]] = []
        picked: list[Request] = []
        quota: dict[str, float] = {}  # rows that are left to each person
        offers = list(self._offers(line, now, large))
        crowded = any(not _alike(offers[0][1][0], requests[0]) for _, requests in offers)
        for place, (job, requests) in enumerate(offers):
            if picked and not _alike(picked[0], requests[0]):
                break
            # Who waits for another kind of call gets it when the pictures that have been begun are done.
            if crowded and any(request.step > 0 for request in requests):
                requests = [request for request in requests if request.state is not None]
            people = [other.person for other, _ in offers[place:]]
            if job.person not in quota:
                quota[job.person] = (room - sum(request.row_count for request in picked)) / len(set(people))
            share = quota[job.person] / people.count(job.person)
            mine: list[Request] = []
            for request in requests:
                if not _alike(request, (picked or requests)[0]):
                    continue
                rows = sum(other.row_count for other in mine) + request.row_count
                if mine and request.state is None and rows > share:
                    break
                others = [*picked, *mine]
                if others and not (self._fits(others, [request], room) and _cost([*others, request]) <= seconds):
                    break
                mine.append(request)
            if mine:
                turn.append((job, mine))
                picked += mine
                quota[job.person] -= sum(request.row_count for request in mine)
        return turn

    def _waiting_since(self, person: str) -> float:
        """When this person's last picture was finished, or the first of these jobs came."""
        mine = [job for job in self.jobs if job.person == person]
        served = [job.waiting_since for job in mine if job.last_served]
        if person in self._finished:
            served.append(self._finished[person])
        return max(served, default=min(job.waiting_since for job in mine))

    def _fits(self, picked: list[Request], more: list[Request], room: int) -> bool:
        """Whether these can share a call of at most ``room`` rows with those that are picked already."""
        first = picked[0]
        rows = sum(request.row_count for request in (*picked, *more))
        return _alike(first, more[0]) and rows <= min(room, first.runner.max_rows(first.plan.compat))

    def _offers(self, owners: Iterable[AnyOwner], now: float, large: bool) -> Iterator[tuple[AnyOwner, list[Request]]]:
        """What each owner has ready; one that raises is told so and left out."""
        for owner in owners:
            if owner.in_call or owner.over:
                continue
            try:
                requests = owner.next(now)
                wanted = [request for request in requests if (request.row_cost > LARGE_SECONDS) == large]
            except Exception as error:  # noqa: BLE001 - it ends this owner's frame or job, and nothing else
                owner.refuse(as_artflow_error(error, owner))
                continue
            self.large_waits |= not large and len(wanted) < len(requests)
            if wanted:
                yield owner, wanted


def _cost(requests: list[Request]) -> float:
    """Estimated seconds of a call with these."""
    first = requests[0]
    return first.runner.cost.seconds(first.plan.compat, sum(request.row_count for request in requests))


def _alike(a: Request, b: Request) -> bool:
    return a.runner is b.runner and a.plan.compat == b.plan.compat
