"""Picks what shares the next model call. Runs none; only what is new to an owner (its prompts) is made ready for it.

Rows can share a call when they are of one model, one latent shape and one prompt length. Live work goes before jobs,
who waited longest goes first, and the row of a job whose turn it is is left out of one call at most.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import torch

from artflow.engine.conditioning import Conditioning
from artflow.engine.flight import Flight, Row
from artflow.engine.frame import Frame
from artflow.engine.job import Job
from artflow.engine.runner import Runner
from artflow.engine.session import LiveSession
from artflow.errors import ArtflowError

log = logging.getLogger(__name__)

Key = tuple[Runner, tuple[int, ...], tuple[int, ...]]
Owner = TypeVar("Owner", LiveSession, Job)


@dataclass
class Work:
    """One owner's share of a model call.

    For a session: the flights in the air (newest first) and the frame that enters; for a job: just the job.
    """

    owner: LiveSession | Job
    frame: Frame | None = None
    flights: list[Flight] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def frames(self) -> list[Frame]:
        """Every frame that an error here would cost."""
        return ([self.frame] if self.frame else []) + [flight.frame for flight in self.flights]


def schedule(sessions: Iterable[LiveSession], jobs: Iterable[Job], now: float, max_rows: int) -> list[Work]:
    """The work of the next call, all of one key; empty when nothing is ready. ``now`` is monotonic seconds.

    A session or job whose settings cannot be prepared is told so and left out.
    """
    turn = _turn(jobs, now, max(max_rows // 2, 1))
    late = [asked for asked in turn if asked[0].skipped_calls]
    live = sorted((s for s in sessions if not s.closed and s.ready(now)), key=lambda s: s.last_served)
    others = [asked for asked in turn if not asked[0].skipped_calls]
    wishes: Iterable[tuple[LiveSession | Job, Key, int]] = chain(late, _asked(live, now), others)

    picked: list[Work] = []
    key: Key | None = None
    rows = 0
    for owner, wanted, count in wishes:
        if key not in (None, wanted) or (picked and rows + count > max_rows):
            continue
        work = Work(owner)
        if isinstance(owner, LiveSession):
            work.frame = owner.take(now)
            if work.frame is None and not owner.flights:
                continue
            work.flights = list(owner.flights)
            owner.last_served = now
        picked.append(work)
        key, rows = wanted, rows + count

    served = {id(work.owner) for work in picked}
    for job, _, _ in turn:
        job.skipped_calls = 0 if id(job) in served or not picked else job.skipped_calls + 1
    return picked


def _turn(jobs: Iterable[Job], now: float, max_rows: int) -> list[tuple[Job, Key, int]]:
    """The jobs whose turn it is: all of one key and together few enough rows that one call can bring them all.

    The others wait in line: a job keeps its turn for one picture, and nobody overtakes who waits longer. That is
    what leaves every second call to live work, however many jobs there are.
    """
    line = sorted((job for job in jobs if not job.finished), key=lambda job: (not job.in_the_air, job.waiting_since))
    turn: list[tuple[Job, Key, int]] = []
    rows = 0
    for job, key, count in _asked(line, now):
        if turn and (key != turn[0][1] or rows + count > max_rows):
            break
        turn.append((job, key, count))
        rows += count
    return turn


def _asked(owners: Iterable[Owner], now: float) -> Iterator[tuple[Owner, Key, int]]:
    """Each owner with its key and its number of rows; who cannot be prepared is told so and left out."""
    for owner in owners:
        try:
            key, count = _ask(owner, now)
        except Exception as error:  # noqa: BLE001 - it ends this owner's frame or job, and nothing else
            _refuse(owner, now, as_artflow_error(error, owner))
            continue
        if key is not None:
            yield owner, key, count


def _ask(owner: LiveSession | Job, now: float) -> tuple[Key | None, int]:
    """What the owner's next step can share a call with (None: it has none), and how many rows it brings."""
    if isinstance(owner, Job):
        flight = owner.flight()
        if flight is None:
            return None, 0
        rows = flight.rows()
        return _key(owner.runner, rows[0].latent.shape, rows[0].conditioning), len(rows)
    plan = owner.prepare(now)
    enters = owner.policy.pipelined or not owner.flights
    in_air = 2 if plan.guided and plan.cfg_type == "full" else 1
    count = in_air * len(owner.flights) + (enters and (2 if plan.guided and plan.cfg_type != "self" else 1))
    return _key(owner.runner, plan.noise.shape[1:], plan.positive), count


def _key(runner: Runner, latent: torch.Size, conditioning: Conditioning) -> Key:
    return runner, tuple(latent), tuple(conditioning.tokens.shape)


def as_artflow_error(error: Exception, owner: LiveSession | Job) -> ArtflowError:
    """What a person is told of an error inside a step; the log has the rest."""
    if isinstance(error, ArtflowError):
        return error
    log.error("a step failed", exc_info=error, extra={"job" if isinstance(owner, Job) else "session": owner.id})
    return ArtflowError("engine_error", f"This picture could not be made: {type(error).__name__}: {error}")


def _refuse(owner: LiveSession | Job, now: float, error: ArtflowError) -> None:
    if isinstance(owner, Job):
        owner.end(error)
    else:
        frame = owner.take(now)
        owner.fail([*([frame] if frame else []), *(flight.frame for flight in owner.flights)], error)
