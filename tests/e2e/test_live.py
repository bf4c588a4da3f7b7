"""Webcam, canvas and text in a real browser with the model that ships: the pixels follow what the person does."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pytest
from gradio_client import Client
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from playwright.sync_api import Page

from artflow.metadata import encode_png
from tests.support.shown import file_of, picture_of, source

# The mean colour of the result's upper left corner, where icons on a plain background leave the background free.
CORNER = """(mode) => {
  const canvas = document.querySelector(`.af-${mode} .af-result .af-picture`);
  if (!canvas || canvas.width < 32) return null;
  const side = Math.floor(canvas.width / 8);
  const data = canvas.getContext("2d").getImageData(0, 0, side, side).data;
  const sum = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
  return sum.map((v) => v / (data.length / 4));
}"""
BLUER = f"() => {{ const c = ({CORNER})('webcam'); return c && c[2] > c[1] + 25 && c[2] > c[0] + 25; }}"
GREENER = f"() => {{ const c = ({CORNER})('webcam'); return c && c[1] > c[2] + 15 && c[1] > c[0] + 15; }}"
SHOWN = "(mode) => Number(document.querySelector(`.af-${mode}`)?.dataset.shown ?? 0)"
SAYS = "(words) => document.querySelector('#artflow-text-status')?.textContent.includes(words)"
LONG = 120_000


@pytest.fixture
def webcam(tab: Callable[[str], Page]) -> Page:
    """The webcam tab, running."""
    page = tab("Webcam")
    page.locator(".af-webcam .af-start").click()
    page.wait_for_function(f"() => ({SHOWN})('webcam') > 0", timeout=LONG)
    return page


def describe(page: Page, mode: str, words: str) -> None:
    """Type a prompt."""
    page.locator(f"#artflow-{mode}-prompt textarea").fill(words)


def set_number(page: Page, label: str, value: float) -> None:
    """Type a number beside its slider, in the tab that is open; again if the page was not ready for it yet."""
    field, slider = (
        page.get_by_label(f"{kind} for {label}").filter(visible=True) for kind in ("number input", "range slider")
    )
    for _ in range(20):
        field.fill(f"{value:g}")
        field.press("Tab")
        page.wait_for_timeout(300)
        if float(slider.input_value()) == value:
            return
    raise AssertionError(f"{label} does not take {value:g}")


def test_the_picture_follows_the_prompt(webcam: Page) -> None:
    set_number(webcam, "Strength", 1)
    describe(webcam, "realtime", "a cat on a blue background")
    webcam.wait_for_function(BLUER, timeout=LONG)
    describe(webcam, "realtime", "a cat on a green background")
    webcam.wait_for_function(GREENER, timeout=LONG)


def test_the_picture_follows_the_camera(webcam: Page) -> None:
    set_number(webcam, "Strength", 0.3)
    webcam.wait_for_function(f"(n) => ({SHOWN})('webcam') > n + 5", arg=webcam.evaluate(SHOWN, "webcam"), timeout=LONG)
    before = webcam.evaluate(CORNER, "webcam")
    difference = f"Math.max(...({CORNER})('webcam').map((v, i) => Math.abs(v - old[i])))"
    webcam.wait_for_function(f"(old) => {difference} > 10", arg=before, timeout=LONG)


def test_the_numbers_are_live(webcam: Page) -> None:
    fps = webcam.locator(".af-webcam [data-number=fps] b")
    webcam.wait_for_function("() => Number(document.querySelector('.af-webcam [data-number=fps] b')?.textContent) > 0")
    assert float(fps.inner_text()) > 0


def test_the_colour_of_a_stroke_shows_up(tab: Callable[[str], Page]) -> None:
    page = tab("Canvas")
    page.wait_for_selector(".af-canvas[data-state=open]", timeout=LONG)
    set_number(page, "Strength", 0.1)
    describe(page, "canvas", "a red heart on a white background")
    page.locator(".af-canvas [data-colour='#e5484d']").click()
    page.locator(".af-canvas .af-size").fill("96")
    box = page.locator(".af-canvas .af-source").bounding_box()
    assert box is not None
    for row in range(4):  # a broad patch in the corner
        y = box["y"] + 20 + row * 40
        page.mouse.move(box["x"] + 20, y)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, y, steps=4)
        page.mouse.up()
    redder = f"() => {{ const c = ({CORNER})('canvas'); return c && c[0] > c[1] + 40 && c[0] > c[2] + 40; }}"
    page.wait_for_function(redder, timeout=LONG)


def test_text_is_made_and_its_seed_is_shown(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    page.locator("#artflow-text-prompt textarea").fill("a red apple on a blue background")
    page.locator("#artflow-generate").click()
    page.wait_for_function(SAYS, arg="Done", timeout=LONG)
    page.wait_for_selector("#artflow-text-gallery img")
    recipe = json.loads(file_of(page, "#artflow-text-gallery img").info["artflow"])
    assert int(page.get_by_label("Seed used").input_value()) == recipe["seed"]


def test_the_picture_follows_the_typing(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    prompt, picture = page.locator("#artflow-text-prompt textarea"), "#artflow-text-preview img"
    prompt.fill("")
    prompt.press_sequentially("a heart on a blue background")
    page.wait_for_selector(picture, timeout=LONG)
    until_corner(page, picture, lambda red, green, blue: blue > red + 40)
    for _ in range(len("blue background")):
        prompt.press("Backspace")
    prompt.press_sequentially("red background")
    until_corner(page, picture, lambda red, green, blue: red > blue + 40)


def test_what_was_typed_before_never_replaces_what_is_made(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    for side in ("Width", "Height"):
        set_number(page, side, 1024)  # many tiles to enlarge
    page.locator("#artflow-text-prompt textarea").fill("a heart on a blue background")
    page.wait_for_timeout(1000)  # it is being made
    for side in ("Width", "Height"):
        set_number(page, side, 128)
    page.locator("#artflow-generate").click()
    page.wait_for_function(SAYS, arg="Done", timeout=LONG)
    made = source(page, "#artflow-text-preview img")
    metrics = urljoin(page.url, "/gradio_api/artflow/api/metrics")
    for _ in range(300):  # what was typed goes on until it hears that it is not wanted any more
        page.wait_for_timeout(200)
        if page.request.get(metrics).json()["worker_status"] == "idle":
            break
    else:
        raise AssertionError("what was typed goes on")
    page.wait_for_timeout(1000)
    assert source(page, "#artflow-text-preview img") == made


def test_an_example_that_is_clicked_is_followed_too(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    page.locator("button:visible", has_text="a robot in space").first.click()
    page.wait_for_selector("#artflow-text-preview img", timeout=LONG)


def until_corner(page: Page, picture: str, wanted: Callable[[float, float, float], bool]) -> None:
    """Wait for a picture whose upper left corner has such a mean colour."""
    for _ in range(100):
        if wanted(*picture_of(page, picture)[:16, :16].reshape(-1, 3).mean(0)):
            return
        page.wait_for_timeout(300)
    raise AssertionError("the picture did not follow")


def test_cancel_ends_it(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    set_number(page, "Batch count", 16)
    set_number(page, "Steps", 50)
    page.locator("#artflow-generate").click()
    page.wait_for_function(SAYS, arg=" of 50", timeout=LONG)
    page.locator("#artflow-cancel").click()
    page.wait_for_function(SAYS, arg="Cancelled.", timeout=LONG)
    assert page.locator("#artflow-text-gallery .thumbnail-item img").count() == 0


def test_unknown_words_are_named(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    page.locator("#artflow-text-prompt textarea").fill("a zeppelin on a blue background")
    page.locator("#artflow-generate").click()
    page.wait_for_function(SAYS, arg="does not know: zeppelin", timeout=LONG)


def test_a_wrong_size_is_said_in_one_sentence(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    set_number(page, "Width", 130)
    page.locator("#artflow-generate").click()
    page.get_by_text("width 130 is not a multiple of 8: the nearest are 128 and 136.").wait_for(timeout=LONG)


def test_the_client_can_call_text(app_url: str) -> None:
    client = Client(app_url, verbose=False)
    gallery, seed, *_ = client.predict(prompt="a red apple on a blue background", seed=7, api_name="/text")
    assert seed == 7 and len(gallery) == 1
    schema = client.view_api(return_format="dict")
    assert "/text" in schema["named_endpoints"]


def test_every_tab_is_a_tool_of_language_models(app_url: str, photo: Path) -> None:
    """Each is called as a language model's client calls it, which checks what it sends against the tool's schema."""

    def sent(data: bytes) -> str:
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"

    here = {"picture": sent(photo.read_bytes())}
    asked: dict[str, dict[str, Any]] = {
        "text": {"prompt": "a red apple", "seed": 7},
        "inpaint": here | {"mask": here["picture"], "prompt": "a red apple"},
        "remove": here | {"mask": here["picture"]},
        "outpaint": here | {"ratio": 2.0, "anchor": "left"},
        "upscale": here | {"factor": 3, "upscaler": "lanczos"},
        "filter": here | {"stack": [{"filter": "invert"}]},
        "interrogate": here | {"mode": "fast", "model": "embedded"},
        "read_style": here,
        "read_back": {"picture": sent(encode_png(np.zeros((8, 8, 3), np.uint8), {"mode": "text", "prompt": "x"}))},
    }

    async def ask() -> dict[str, str]:
        address = f"{app_url}gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, *_), ClientSession(read, write) as session:
            await session.initialize()
            answers = {}
            for tool in (await session.list_tools()).tools:
                if tool.name == "learn_style":  # which takes minutes
                    continue
                answer = await session.call_tool(tool.name, asked[tool.name])
                answers[tool.name] = " ".join(getattr(part, "text", "") for part in answer.content)
                assert not answer.isError, (tool.name, answers[tool.name])
            return answers

    with ThreadPoolExecutor(1) as other:  # Playwright's own loop runs in this thread
        answers = other.submit(asyncio.run, ask()).result(120)
    assert answers.keys() == asked.keys()
    assert "artflow-text-7-0.png" in answers["text"]
    assert "artflow-3x.png" in answers["upscale"]


def test_hires_fix_makes_it_larger_in_two_passes(tab: Callable[[str], Page]) -> None:
    page = tab("Text")
    page.get_by_role("button", name="Hires fix").click()
    set_number(page, "Upscale by", 2)
    page.locator("#artflow-generate").click()
    page.wait_for_function(SAYS, arg="Done", timeout=LONG)
    page.wait_for_function("document.querySelector('#artflow-text-preview img')?.naturalWidth === 256", timeout=LONG)
    assert picture_of(page, "#artflow-text-preview img").shape == (256, 256, 3)


def test_two_calls_of_one_client_do_not_end_each_other(app_url: str) -> None:
    client = Client(app_url, verbose=False)
    calls = [client.submit(prompt=f"a {thing}", batch_count=3, seed=1, api_name="/text") for thing in ("cat", "dog")]
    for call in calls:
        pictures, seed, _, words = call.result(timeout=60)
        assert (len(pictures), seed) == (3, 1) and words.startswith("Done: 3")
