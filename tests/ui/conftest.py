"""Fixtures of the view tests: one echo server for all of them, a fresh page for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.driver import PATIENCE, Canvas, Inpaint, Webcam
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


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 512 x 384, no two neighbours alike: lossless, so that pixels can be compared."""
    y, x = np.mgrid[0:384, 0:512]
    picture = np.dstack([x // 2, y // 2, 128 + 64 * ((x + y) % 2)]).astype(np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(picture).save(path)
    return path


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


@pytest.fixture
def inpaint(page: Page, echo: Echo, url: str) -> Inpaint:
    """The live inpaint view, without a picture."""
    view = Inpaint(page)
    view.open(url)
    return view
