"""Real Chromium for tests: a browser with a fake camera, and pages that fail their test on script errors.

The fixtures are taken up once, by tests/conftest.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium")  # else playwright's own

DrawFrame = Callable[[int, tuple[int, int]], Image.Image]


def moving_scene(index: int, size: tuple[int, int]) -> Image.Image:
    """One frame of a colourful scene that never stands still: panning hues and two circling discs."""
    width, height = size
    columns = (np.arange(width) * 255 // width + 4 * index) % 256
    hsv = np.empty((height, width, 3), np.uint8)
    hsv[..., 0] = columns
    hsv[..., 1] = 150
    hsv[..., 2] = np.linspace(255, 90, height, dtype=np.uint8)[:, None]
    image = Image.fromarray(hsv, "HSV").convert("RGB")
    draw = ImageDraw.Draw(image)
    for turn, colour in ((0.0, "white"), (0.5, "#202040")):
        angle = 2 * np.pi * (index / 60 + turn)
        x, y = width / 2 + width / 4 * np.cos(angle), height / 2 + height / 4 * np.sin(angle)
        draw.ellipse((x - 50, y - 50, x + 50, y + 50), fill=colour)
    return image


def write_camera_video(
    path: Path,
    draw_frame: DrawFrame = moving_scene,
    *,
    size: tuple[int, int] = (640, 480),
    frames: int = 60,
    fps: int = 30,
) -> Path:
    """Writes a Y4M file for ``--use-file-for-fake-video-capture``; the browser plays it in a loop."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{size[0]} H{size[1]} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for index in range(frames):
            ycc = np.asarray(draw_frame(index, size).convert("YCbCr")).astype(np.float32)
            luma = (16 + ycc[..., 0] * 219 / 255).astype(np.uint8)  # video range, as the browser expects
            chroma = (128 + (ycc[::2, ::2, 1:] - 128) * 224 / 255).astype(np.uint8)
            file.write(b"FRAME\n" + luma.tobytes() + chroma[..., 0].tobytes() + chroma[..., 1].tobytes())
    return path


def launch_chromium(playwright, camera: Path | None = None) -> Browser:
    """Headless Chromium whose camera plays ``camera`` (or Chromium's test pattern) without asking."""
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--host-resolver-rules=MAP *.example 127.0.0.1",  # names that are nobody's
    ]
    if camera is not None:
        arguments.append(f"--use-file-for-fake-video-capture={camera}")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


def paint_stroke(page: Page, editor: str) -> None:
    """Paint a short stroke in the middle of an editor."""
    box = page.locator(f"{editor} canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 15, y)
    page.mouse.down()
    page.mouse.move(x + 15, y, steps=6)
    page.mouse.up()


def watch_errors(page: Page) -> list[str]:
    """Collects what goes wrong in the page's scripts: uncaught errors, and those Gradio catches and logs."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def on_console(message) -> None:
        if message.type == "error" and "js_on_load" in message.text:
            errors.append(message.text)

    page.on("console", on_console)
    return errors


@pytest.fixture(scope="session")
def camera_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's camera shows."""
    return write_camera_video(tmp_path_factory.mktemp("camera") / "scene.y4m")


@pytest.fixture(scope="session")
def browser(camera_video: Path) -> Iterator[Browser]:
    """One Chromium for all tests of the session."""
    with sync_playwright() as playwright:
        if CHROMIUM is None and not Path(playwright.chromium.executable_path).exists():
            subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
        chromium = launch_chromium(playwright, camera_video)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own context; the test fails if a script on it failed."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US", accept_downloads=True)
    page = context.new_page()
    errors = watch_errors(page)
    yield page
    context.close()
    assert not errors, f"errors in the page: {errors}"
