"""StreamDiffusion's own page (``demo/realtime-img2img``), built unchanged from its source and served beside our routes.

``TEST_STREAMDIFFUSION`` names the folder of a checkout of https://github.com/cumulo-autumn/StreamDiffusion. Without
one, or without npm, tests/api/test_earlier_front_ends.py holds us to the same, by what the page sends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from starlette.staticfiles import StaticFiles

from tests.api.client import Served, serve

SOURCE = os.environ.get("TEST_STREAMDIFFUSION")

pytestmark = [
    pytest.mark.skipif(SOURCE is None, reason="TEST_STREAMDIFFUSION names no checkout of StreamDiffusion"),
    pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed"),
    pytest.mark.timeout(900),  # npm takes minutes
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Our routes over a tiny model, and the page at ``/``."""
    folder = tmp_path_factory.mktemp("streamdiffusion") / "frontend"
    shutil.copytree(Path(SOURCE or "") / "demo" / "realtime-img2img" / "frontend", folder)
    if not (folder / "public").is_dir():  # else it has been built already
        for command in (["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
            subprocess.run(command, cwd=folder, check=True, timeout=420)
    with serve() as served:
        served.app.mount("/", StaticFiles(directory=folder / "public", html=True))
        yield served


def test_it_goes_on_where_a_setting_is_refused(page: Page, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(60_000)
    page.goto(f"http://127.0.0.1:{served.port}/", wait_until="domcontentloaded")
    page.get_by_role("button", name="Start").click()

    def shown(height: int) -> None:
        page.wait_for_function(
            "height => document.querySelector(\"img[src^='/api/stream/']\")?.naturalHeight === height", arg=height
        )

    shown(64)
    page.get_by_text("Advanced Options").click()
    number = "#{} + input[type=number]"
    for field, value, height in (("width", "129", 128), ("steps", "", 192), ("seed", "", 256)):
        page.fill("#seed" if field == "seed" else number.format(field), value)
        page.fill(number.format("height"), str(height))
        shown(height)
    page.fill("textarea[title=Prompt]", "x" * 1_200)
    page.fill(number.format("height"), "320")
    shown(320)
    assert page.get_by_role("button", name="Stop").is_visible()
    assert not [url for url in asked if url.endswith("/api/stream/null")]
