"""The README's examples, run as they stand."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
HOST = "127.0.0.1:7860"


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def here(code: str, app_url: str) -> str:
    """The example against the running app."""
    assert HOST in code
    return code.replace(HOST, re.sub(r"https?://|/$", "", app_url))


@pytest.mark.parametrize("code", blocks("python"), ids=["client", "live"])
def test_python(code: str, app_url: str, photo: Path, tmp_path: Path) -> None:
    shutil.copy(photo, tmp_path / "photo.jpg")
    command = [sys.executable, "-c", here(code, app_url)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    if "result.jpg" in code:
        assert Image.open(tmp_path / "result.jpg").size == (128, 128)


def test_javascript(app_url: str, photo: Path, page: Page) -> None:
    (code,) = blocks("js")
    page.route("**/drawing.jpg", lambda route: route.fulfill(path=photo, content_type="image/jpeg"))
    page.goto(app_url + "api/health")  # any small page of the app
    page.evaluate(f"() => {{ document.body.innerHTML = '<img>'; {here(code, app_url)} }}")
    page.wait_for_function("() => document.querySelector('img').naturalWidth === 128", timeout=120_000)
