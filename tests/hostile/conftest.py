"""The whole app on a port with a tiny model, and how much memory it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from artflow.pipeline import Pipeline
from artflow.ui.app import Artflow, build
from tests.api.client import tiny_catalog, tiny_settings

PATIENCE = 60


@dataclass
class App:
    """The running page."""

    pipeline: Pipeline
    demo: Artflow
    url: str

    def function(self, name: str) -> int:
        """The index of an endpoint's function."""
        return next(index for index, fn in self.demo.fns.items() if fn.api_name == name)

    @contextlib.contextmanager
    def page(self) -> Iterator[Page]:
        """A page that is open: its heartbeat runs."""
        session = uuid4().hex
        with (
            httpx.Client(base_url=f"{self.url}gradio_api", timeout=PATIENCE) as http,
            http.stream("GET", f"/heartbeat/{session}") as beats,
        ):
            alive = beats.iter_raw()  # held: it closes the connection when it goes
            next(alive)
            yield Page(self, http, session)


@dataclass
class Page:
    """What a browser, or somebody who plays one, sends of one page."""

    app: App
    http: httpx.Client
    session: str

    def ask(self, endpoint: str, *values: Any, address: str = "") -> httpx.Response:
        """Put a call into the queue."""
        body = {"data": list(values), "fn_index": self.app.function(endpoint), "session_hash": self.session}
        headers = {"x-forwarded-for": address} if address else {}
        return self.http.post("/queue/join", json=body, headers=headers)


@pytest.fixture(scope="session")
def app() -> Iterator[App]:
    """One app for all tests here."""
    pipeline = Pipeline(tiny_settings(), tiny_catalog())
    demo = build(pipeline)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield App(pipeline, demo, url)
    demo.close()
    pipeline.close()


@pytest.fixture
def grown() -> Callable[[], float]:
    """Megabytes that the process has taken since the test began."""
    process = psutil.Process()
    before = process.memory_info().rss
    return lambda: (process.memory_info().rss - before) / 1e6
