"""The whole page in real Chromium, launched once; a fresh browser context for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Page

from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.app import build


@pytest.fixture(scope="session")
def pipeline() -> Iterator[Pipeline]:
    """The pipeline of a fresh checkout; no model is loaded until a test asks for one."""
    pipeline = Pipeline(load_settings(environ={}))
    yield pipeline
    pipeline.close()


@pytest.fixture(scope="session")
def app_url(pipeline: Pipeline) -> Iterator[str]:
    """The running app."""
    demo = build(pipeline)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture(scope="module")
def client(app_url: str) -> Iterator[Client]:
    """A client of the API, as programs use it."""
    client = Client(app_url, verbose=False)
    yield client
    client.close()


@pytest.fixture
def tab(page: Page, app_url: str) -> Callable[[str], Page]:
    """Opens the page on a tab."""

    def open_tab(name: str) -> Page:
        page.set_default_timeout(60_000)
        page.goto(app_url, wait_until="domcontentloaded")
        page.get_by_role("tab", name=name, exact=True).click()
        return page

    return open_tab


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of smooth colours with a few shapes in it, 480 x 320."""
    y, x = np.mgrid[0:320, 0:480]
    picture = np.dstack([x * 255 // 480, y * 255 // 320, 128 + 60 * np.sin(x / 20)]).astype(np.uint8)
    picture[80:200, 100:180] = (230, 40, 40)
    picture[150:280, 300:420] = (30, 60, 200)
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    Image.fromarray(picture).save(path, quality=95)
    return path
