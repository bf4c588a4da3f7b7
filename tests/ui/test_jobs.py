"""Long actions of a tab: a few at once, the others wait their turn and can be cancelled meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest

from artflow.engine.job_request import JobProgress
from artflow.job_context import JobContext
from artflow.settings import load_settings
from artflow.ui import jobs as jobs_module
from artflow.ui.jobs import Jobs

PATIENCE = 20
LIMITS = load_settings(environ={}).server


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
    jobs, go_on, running = Jobs(LIMITS), threading.Event(), []

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


def never(context: JobContext) -> list:
    return pytest.fail("it was to end before it began")


def test_whose_browser_has_gone_leaves_the_place_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who waits, or whose work has nothing to say: Gradio closes a generator only between two of its events."""
    monkeypatch.setattr(jobs_module, "PULSE", 0.05)
    monkeypatch.setattr(jobs_module, "AT_ONCE", 1)
    jobs, begun = Jobs(LIMITS), threading.Event()

    def long(context: JobContext) -> list:
        begun.set()
        assert context.cancelled.wait(PATIENCE)
        return []

    runs = jobs.run(Person(jobs, "a").request, long)
    waits = jobs.run(Person(jobs, "b").request, never)
    assert [next(runs) for _ in range(3)] == [(None, "Starting", None)] * 3 and begun.is_set()
    assert [next(waits)[1] for _ in range(4)] == ["Starting"] + 3 * ["Queued: waiting for other jobs"]
    waits.close()
    runs.close()
    assert Person(jobs, "c").ask(lambda context: []) == []


def test_who_waits_can_cancel_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "AT_ONCE", 1)
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 1)
    jobs, go_on, begun = Jobs(LIMITS), threading.Event(), threading.Event()

    def long(context: JobContext) -> list:
        begun.set()
        assert go_on.wait(PATIENCE)
        return []

    first, second, third = (Person(jobs, name) for name in "abc")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first.ask, long)
        assert begun.wait(PATIENCE)
        two = pool.submit(second.ask, never)
        assert second.waits.wait(PATIENCE)
        with pytest.raises(gr.Error, match="2 jobs run or wait already"):
            third.ask(never)
        second.cancel()
        assert two.result(PATIENCE) == [] and second.words[-1] == "Cancelled."
        go_on.set()
        one.result(PATIENCE)
    assert first.ask(lambda context: []) == [], "the place is free again"


def test_of_what_a_work_says_the_page_hears_the_newest() -> None:
    """A network that is slower than the work must not be sent all of it, one after the other."""
    jobs, said, go_on = Jobs(), threading.Event(), threading.Event()

    def chatty(context: JobContext) -> list:
        for step in range(1, 1001):
            context.on_progress(
                JobProgress(0, 1, step, 1000, preview=np.zeros((8, 8, 3), np.uint8) if step == 5 else None)
            )
        said.set()
        assert go_on.wait(PATIENCE)
        return []

    heard = jobs.run(Person(jobs, "a").request, chatty)
    assert next(heard)[1] == "Starting"
    assert said.wait(PATIENCE)
    preview, words, _ = next(heard)
    assert words == "Step 1000 of 1000" and preview is not None, "the last preview is still new"
    go_on.set()
    assert [made for *_, made in heard] == [[]]


def test_an_error_that_nobody_has_foreseen_is_a_sentence_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    def broken(context: JobContext) -> list:
        raise RuntimeError("password of /home/operator")

    jobs = Jobs(LIMITS)
    with pytest.raises(gr.Error, match=r"An error inside the app \(RuntimeError\); its log says more\.") as raised:
        Person(jobs, "a").ask(broken)
    assert "password" not in str(raised.value) and "password" in caplog.text
    assert Person(jobs, "a").ask(lambda context: []) == [], "the place is free again"
