"""Who is served next, of owners that are neither sessions nor jobs: the scheduler knows no more than their protocol."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from artflow.engine.request import Request
from artflow.engine.scheduler import Scheduler


class Plan:
    """One row a step, of a shape that all share."""

    compat = ((4, 8, 8), ())

    def row_count(self, step: int) -> int:
        return 1


class Somebody:
    """Has one request, always the same, which is always ready."""

    due = waiting_since = 0.0
    running = over = cancelled = in_call = False
    skipped_calls = waiting = 0
    last_served = 0.0

    def __init__(self, kind: str, runner: Any, person: str = "") -> None:
        self.kind = self.id = kind
        self.person = person or str(id(self))
        self.runner = runner
        self.ended = 0
        self.request: Request = Request(self, 0, runner, Plan())  # type: ignore[arg-type]

    def next(self, now: float) -> list[Request]:
        return [self.request]

    def refuse(self, error: Exception) -> None:
        raise error

    def end(self, error: Exception) -> None:
        self.ended += 1


def runner(*, seconds: float = 0.01, max_rows: int = 16) -> Any:
    return SimpleNamespace(cost=SimpleNamespace(seconds=lambda compat, rows: seconds), max_rows=lambda compat: max_rows)


def scheduler_of(*owners: Somebody, max_rows: int = 16) -> Scheduler:
    scheduler = Scheduler(max_rows)
    for owner in owners:
        scheduler.add(owner)  # type: ignore[arg-type]
    return scheduler


def test_any_owner_is_served_as_its_kind_says() -> None:
    model = runner()
    live, job = Somebody("live", model), Somebody("job", model)
    scheduler = scheduler_of(live, job, max_rows=1)
    assert (scheduler.sessions, scheduler.jobs) == ([live], [job])
    served = []
    for now in range(4):
        (request,) = scheduler.schedule(float(now), large=False)
        served.append(request.owner.kind)
        request.owner.in_call = False
    assert served == ["live", "job", "live", "job"]
    job.over = True
    scheduler.remove_finished()
    assert (scheduler.owners, job.ended, live.ended) == ([live], 1, 0)


def test_who_was_picked_in_vain_is_picked_again() -> None:
    """What raises while a call is put together must not leave anybody marked as being in it."""
    model = runner()
    live = Somebody("live", model)
    scheduler = scheduler_of(live)
    model.cost.seconds = Mock(side_effect=[0.01, ValueError("of the whole call"), 0.01, 0.01])  # of a row, of the call
    with pytest.raises(ValueError):
        scheduler.schedule(1.0, large=False)
    assert (live.in_call, live.last_served, scheduler.served_live) == (False, 0.0, float("-inf"))
    assert scheduler.schedule(2.0, large=False) == [live.request]
    assert (live.in_call, live.last_served, scheduler.served_live) == (True, 2.0, 2.0)


def test_an_owner_that_cannot_be_ended_is_let_go_and_keeps_nobody_up() -> None:
    class Stuck(Somebody):
        def end(self, error: Exception) -> None:
            super().end(error)
            raise OSError

    model = runner()
    stuck, other, live = Stuck("live", model), Somebody("job", model), Somebody("live", model)
    scheduler = scheduler_of(stuck, other, live)
    stuck.over = other.over = True
    assert scheduler.schedule(1.0, large=False) == [live.request]
    assert (scheduler.owners, stuck.ended, other.ended) == ([live], 1, 1)


def test_the_scheduler_knows_neither_sessions_nor_jobs() -> None:
    modules = [f"artflow.engine.{name}" for name in ("session", "job")]
    code = f"import sys, artflow.engine.scheduler; print([m for m in {modules} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_all_jobs_of_a_person_wait_as_one() -> None:
    """Three jobs of one person and one of another, a picture at a time: who asks for much delays nobody for long."""
    model = runner()
    many, one = [Somebody("job", model, "many") for _ in range(3)], Somebody("job", model, "one")
    scheduler = scheduler_of(*many, one, max_rows=1)
    served = []
    for now in range(1, 7):
        (request,) = scheduler.schedule(float(now), large=False)
        served.append(request.owner.person)
        request.owner.in_call, request.owner.waiting_since = False, float(now)  # its picture is finished
    assert sorted(served[:2]) == ["many", "one"] and served[2:4] == served[4:] == served[:2]


def test_a_person_is_remembered_while_jobs_wait_and_forgotten_after_them() -> None:
    """Jobs of one picture each are over when it is served; the next one of the same person waits behind others."""
    model = runner()
    first, second = Somebody("job", model, "many"), Somebody("job", model, "many")
    late = Somebody("job", model, "one")
    late.waiting_since = 2.0
    scheduler = scheduler_of(first, second, late, max_rows=1)
    assert scheduler.schedule(3.0, large=False) == [first.request]
    first.over, first.waiting_since = True, 3.0
    assert scheduler.schedule(4.0, large=False) == [late.request]
    second.over = late.over = True
    scheduler.remove_finished()
    assert scheduler._finished == {}


def test_the_room_of_a_call_is_shared_between_people() -> None:
    class Four(Somebody):
        def next(self, now: float) -> list[Request]:
            return [Request(self, n, self.runner, Plan()) for n in range(4)]  # type: ignore[arg-type]

    model = runner()
    many, one = [Four("job", model, "many") for _ in range(3)], Four("job", model, "one")
    picked = scheduler_of(*many, one, max_rows=8).schedule(1.0, large=False)
    assert len(picked) == 8 and sum(request.owner is one for request in picked) == 4
