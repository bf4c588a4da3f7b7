"""Long actions of a tab: a few at once, the others wait their turn and can be cancelled meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from artflow.job_context import JobContext
from artflow.ui import jobs as jobs_module
from artflow.ui.jobs import Jobs

PATIENCE = 20


class Person:
    """Somebody whose browser asks for one thing after the other."""

    def __init__(self, jobs: Jobs, name: str) -> None:
        self.request: Any = SimpleNamespace(session_hash=name)
        self.words: list[str] = []
        self.waits = threading.Event()
        self._jobs = jobs

    def ask(self, work: Callable[[JobContext], list]) -> list | None:
        made = None
        for _, words, made in self._jobs.run(self.request, work):  # noqa: B007 - the last one counts
            self.words.append(words)
            if words.startswith("Queued"):
                self.waits.set()
        return made

    def cancel(self) -> None:
        self._jobs.stop(self.request)


def test_more_than_a_few_wait_and_run_in_the_end() -> None:
    jobs, go_on, running = Jobs(at_once=2), threading.Event(), []

    def work(context: JobContext) -> list:
        running.append(context)
        assert go_on.wait(PATIENCE)
        return []

    people = [Person(jobs, name) for name in "abc"]
    with ThreadPoolExecutor(3) as pool:
        asked: list[Future] = []
        for person in people[:2]:
            asked.append(pool.submit(person.ask, work))
        while len(running) < 2:
            pass
        asked.append(pool.submit(people[2].ask, work))
        assert people[2].waits.wait(PATIENCE) and len(running) == 2
        go_on.set()
        assert all(one.result(PATIENCE) == [] for one in asked)
    assert len(running) == 3 and people[2].words == ["Starting", "Queued: waiting for other jobs", "Done: 0 pictures."]


def seen(context: JobContext) -> list:
    return [] if context.cancelled.is_set() else pytest.fail("it was to end before it began")


def test_whose_browser_has_gone_leaves_the_place_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who waits, or whose work has nothing to say: Gradio closes a generator only between two of its events."""
    monkeypatch.setattr(jobs_module, "PULSE", 0.05)
    jobs, begun = Jobs(at_once=1), threading.Event()

    def long(context: JobContext) -> list:
        begun.set()
        assert context.cancelled.wait(PATIENCE)
        return []

    runs = jobs.run(Person(jobs, "a").request, long)
    waits = jobs.run(Person(jobs, "b").request, seen)
    assert [next(runs) for _ in range(3)] == [(None, "Starting", None)] * 3 and begun.is_set()
    assert [next(waits)[1] for _ in range(4)] == ["Starting"] + 3 * ["Queued: waiting for other jobs"]
    waits.close()
    runs.close()
    assert Person(jobs, "c").ask(lambda context: []) == []


def test_who_waits_can_cancel_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 1)
    jobs, go_on, begun = Jobs(at_once=1), threading.Event(), threading.Event()

    def long(context: JobContext) -> list:
        begun.set()
        assert go_on.wait(PATIENCE)
        return []

    first, second, third = (Person(jobs, name) for name in "abc")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.ask, long)
        assert begun.wait(PATIENCE)
        two = pool.submit(second.ask, seen)
        assert second.waits.wait(PATIENCE)
        with pytest.raises(gr.Error, match="1 others wait for this already"):
            third.ask(seen)
        second.cancel()
        assert two.result(PATIENCE) == [] and second.words[-1] == "Cancelled."
        go_on.set()
        one.result(PATIENCE)
    assert first.ask(lambda context: []) == [], "the place is free again"
