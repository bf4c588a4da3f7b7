"""What a person does with the views, and what they see, in a few words for tests."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

Colour = tuple[int, int, int]
Point = tuple[float, float]

PATIENCE = 40  # seconds; what is waited for takes a fraction of one, but test machines can be busy

PIXEL = """([selector, x, y]) => {
  const canvas = document.querySelector(selector);
  const pixel = canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data;
  return [pixel[0], pixel[1], pixel[2]];
}"""


def wait_until(page: Page, condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Waits for something on the server's side while the page goes on."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        page.wait_for_timeout(20)


def near(actual: Sequence[int], wanted: Sequence[int], tolerance: int = 40) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(actual, wanted, strict=True))


class View:
    """One live view on its page; ``root`` is its CSS selector."""

    root: str
    mode: str

    def __init__(self, page: Page) -> None:
        self.page = page

    def part(self, selector: str):
        return self.page.locator(f"{self.root} {selector}")

    def click(self, selector: str) -> None:
        self.part(selector).click()

    def wait_state(self, state: str, timeout: float = 1000 * PATIENCE) -> None:
        expect(self.page.locator(self.root)).to_have_attribute("data-state", state, timeout=timeout)

    def shown(self) -> int:
        """The number of the frame on the result, 0 while there is none."""
        return int(self.page.locator(self.root).get_attribute("data-shown") or 0)

    def wait_shown(self, frame: int) -> None:
        wait_until(self.page, lambda: self.shown() >= frame, f"frame {frame} to be shown")

    def result_pixel(self, x: float, y: float) -> Colour:
        """The colour of the result at a place given in parts of its width and height."""
        return tuple(self.page.evaluate(PIXEL, [f"{self.root} .af-picture", x, y]))

    def set(self, **values) -> None:
        self.page.evaluate("([mode, values]) => artflow.set(mode, values)", [self.mode, values])

    def snapshot(self) -> dict | None:
        return self.page.evaluate("(mode) => artflow.snapshot(mode)", self.mode)

    def wait_error(self, sentence: str | re.Pattern) -> None:
        error = self.part(".af-error")
        expect(error).to_be_visible()
        expect(error).to_have_text(sentence)


class Webcam(View):
    root = ".af-webcam"
    mode = "realtime"

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.part(".af-start").wait_for()

    def start(self) -> None:
        """Starts the camera and waits for the first result."""
        self.click(".af-start")
        self.wait_shown(1)

    def source_pixel(self, x: float, y: float) -> Colour:
        """The colour of the camera picture, mirrored as it is shown, cropped to a square."""
        script = """([x, y]) => {
          const video = document.querySelector(".af-webcam video");
          const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
          const context = canvas.getContext("2d"), size = Math.min(video.videoWidth, video.videoHeight);
          const shown = video.classList.contains("af-mirrored") ? 1 - x : x;
          const left = (video.videoWidth - size) / 2 + shown * size;
          context.drawImage(video, left, (video.videoHeight - size) / 2 + y * size, 1, 1, 0, 0, 1, 1);
          return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }"""
        return tuple(self.page.evaluate(script, [x, y]))


class Drawn(View):
    """What the views that are drawn on have in common."""

    tab: str

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.page.get_by_role("tab", name=self.tab).click()
        self.part(".af-paper").wait_for()

    def stroke(self, *points: Point, release: bool = True) -> None:
        """Draws with the mouse through points given in parts of the paper."""
        box = self.part(".af-paper").bounding_box()
        assert box
        mouse = self.page.mouse
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        mouse.move(*places[0])
        mouse.down()
        for place in places[1:]:
            mouse.move(*place, steps=5)
        if release:
            mouse.up()

    def brush_size(self, size: int) -> None:
        self.part(".af-size").fill(str(size))

    def paper_pixel(self, x: float, y: float) -> Colour:
        return tuple(self.page.evaluate(PIXEL, [f"{self.root} .af-paper", x, y]))

    def wait_paper(self, x: float, y: float, colour: Colour) -> None:
        wait_until(
            self.page,
            lambda: near(self.paper_pixel(x, y), colour),
            f"{colour} on the paper at {x}, {y}; there is {self.paper_pixel(x, y)}",
        )

    def wait_result(self, x: float, y: float, colour: Colour) -> None:
        wait_until(
            self.page,
            lambda: near(self.result_pixel(x, y), colour),
            f"{colour} in the result at {x}, {y}; there is {self.result_pixel(x, y)}",
        )

    def give(self, kind: str, url: str) -> None:
        """Drops or pastes the picture behind a URL."""
        self.page.evaluate(
            """async ([root, kind, url]) => {
              const file = new File([await (await fetch(url)).blob()], "picture.png", {type: "image/png"});
              const data = new DataTransfer();
              data.items.add(file);
              const target = document.querySelector(`${root} .af-source`);
              const init = {bubbles: true, cancelable: true, dataTransfer: data, clipboardData: data};
              target.dispatchEvent(kind === "drop" ? new DragEvent("drop", init) : new ClipboardEvent("paste", init));
            }""",
            [self.root, kind, url],
        )


class Canvas(Drawn):
    root = ".af-canvas"
    mode = "canvas"
    tab = "Canvas"

    def pen(
        self, kind: str, x: float, y: float, *, pressure: float = 0.5, pointer: str = "pen", number: int = 7
    ) -> None:
        """One pointer event of a pen or a finger, which the mouse of the test driver cannot make."""
        self.page.evaluate(
            """([kind, x, y, pressure, pointerType, pointerId]) => {
              const paper = document.querySelector(".af-paper"), box = paper.getBoundingClientRect();
              paper.setPointerCapture = () => {}; // knows only pointers that exist
              paper.dispatchEvent(new PointerEvent(kind, {
                pointerId, isPrimary: true, bubbles: true, cancelable: true, pointerType, pressure,
                button: kind === "pointermove" ? -1 : 0, buttons: 1,
                clientX: box.left + x * box.width, clientY: box.top + y * box.height,
              }));
            }""",
            [kind, x, y, pressure, pointer, number],
        )

    def colour(self, colour: str) -> None:
        self.click(f'.af-swatch[data-colour="{colour}"]')


class Inpaint(Drawn):
    root = ".af-inpaint"
    mode = "inpaint"
    tab = "Inpaint"

    def load(self, path: Path) -> None:
        """Chooses a picture and waits until it is there and the server, too."""
        self.part(".af-file").set_input_files(path)
        expect(self.page.locator(f"{self.root}.af-has-picture")).to_be_visible()
        self.wait_state("open")

    def wait_settled(self) -> None:
        """Waits until what is painted has been sent, answered and shown."""
        self.page.wait_for_function(
            """() => {
              const view = window[Symbol.for("artflow.hub")].views.inpaint;
              const { sender, connection, root } = view;
              return !sender.dirty && !sender.pumping && Number(root.dataset.shown) === connection.frame;
            }"""
        )

    def result_pixels(self) -> np.ndarray:
        """The whole result, as RGB."""
        url = self.page.evaluate(f"document.querySelector('{self.root} .af-picture').toDataURL()")
        return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
