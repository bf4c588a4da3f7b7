"""Fixtures of the view tests: one echo server for all of them, a fresh page for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.ui.driver import PATIENCE, Canvas, Webcam
from tests.ui.echo_server import Echo, serve

expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="session")
def served_echo() -> Iterator[tuple[Echo, str]]:
    """The server and its address."""
    echo = Echo()
    with serve(echo) as url:
        yield echo, url


@pytest.fixture
def echo(served_echo: tuple[Echo, str]) -> Iterator[Echo]:
    """The server with its defaults; the test fails if a view broke the protocol."""
    echo, _ = served_echo
    echo.reset()
    yield echo
    assert not echo.violations


@pytest.fixture
def url(served_echo: tuple[Echo, str]) -> str:
    return served_echo[1]


@pytest.fixture
def webcam(page: Page, echo: Echo, url: str) -> Webcam:
    """The webcam view, ready to be started."""
    view = Webcam(page)
    view.open(url)
    return view


@pytest.fixture
def canvas(page: Page, echo: Echo, url: str) -> Canvas:
    """The canvas view, connected."""
    view = Canvas(page)
    view.open(url)
    view.wait_state("open")
    return view
