"""How the views look: on a phone, in the dark, in Chinese, and to somebody who uses the keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from artflow.ui.components.live_view import read_parts
from tests.support.browser import watch_errors
from tests.ui.driver import Canvas, Inpaint, Webcam
from tests.ui.echo_server import Echo


@pytest.fixture
def open_view(browser: Browser, echo: Echo, url: str):
    """Opens a view in a context of the wished kind; checks for script errors at the end."""
    opened = []

    def open_view(kind, query: str = "", **context):
        page = browser.new_context(**{"locale": "en-US", **context}).new_page()
        opened.append((page.context, watch_errors(page)))
        view = kind(page)
        view.open(url + query)
        return view

    yield open_view
    for context, errors in opened:
        context.close()
        assert not errors


def _boxes(view, *selectors: str) -> list[dict]:
    boxes = [view.part(selector).bounding_box() for selector in selectors]
    assert all(boxes)
    return boxes


@pytest.mark.parametrize("kind", [Webcam, Canvas, Inpaint])
@pytest.mark.parametrize("width", [320, 390])
def test_phone_has_no_sideways_scroll_and_large_buttons(open_view, photo, kind, width: int) -> None:
    view = open_view(kind, viewport={"width": width, "height": 844}, has_touch=True, is_mobile=True)
    if kind is Webcam:
        view.start()
        view.part("[data-number]").first.wait_for()
    elif kind is Canvas:
        for _ in range(3):
            view.click(".af-layer-add")
    else:
        assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        view.load(photo)
    if kind is not Webcam:
        view.stroke((0.2, 0.2), (0.7, 0.7))
        view.wait_shown(1)
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    source, result = _boxes(view, ".af-source", ".af-result")
    assert abs(source["x"] - result["x"]) < 2 and abs(source["y"] - result["y"]) > source["height"] * 0.9
    for button in view.part("button.af-icon:visible, button.af-primary:visible").all():
        box = button.bounding_box()
        assert box["height"] >= 44 and box["width"] >= 38, button.get_attribute("class")


@pytest.mark.parametrize("kind", [Webcam, Canvas, Inpaint])
def test_wide_page_has_both_pictures_side_by_side(open_view, kind) -> None:
    view = open_view(kind, viewport={"width": 1280, "height": 900})
    source, result = _boxes(view, ".af-source", ".af-result")
    assert abs(source["y"] - result["y"]) < 2 and result["x"] > source["x"] + source["width"]
    assert min(source["width"], result["width"]) > 400
    assert max(source["height"], result["height"]) < 500, "what is under them is in sight"


@pytest.mark.parametrize("kind", [Webcam, Canvas, Inpaint])
def test_text_can_be_read_in_light_and_dark(open_view, kind) -> None:
    contrast = """(selector) => {
      const light = (rgb) => rgb.map((v) => v <= 10 ? v / 3294 : ((v / 255 + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const context = document.createElement("canvas").getContext("2d");
      const rgb = (...colours) => {
        for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
      };
      const ground = getComputedStyle(document.querySelector("gradio-app")).backgroundColor;
      const text = getComputedStyle(document.querySelector(selector)).color;
      const [a, b] = [light(rgb(ground)), light(rgb(ground, text))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }"""
    for theme in ("light", "dark"):
        view = open_view(kind, f"?__theme={theme}")
        for selector in (".af-status", ".af-numbers"):
            assert view.page.evaluate(contrast, f"{view.root} {selector}") > 4.5, (theme, selector)


@pytest.mark.parametrize(("locale", "start"), [("zh-CN", "开始"), ("zh-TW", "開始"), ("de-DE", "Start")])
def test_languages(open_view, locale: str, start: str) -> None:
    view = open_view(Webcam, locale=locale)
    expect(view.part(".af-start")).to_have_text(start)


@pytest.mark.parametrize("kind", [Webcam, Canvas, Inpaint])
def test_every_control_has_a_name(open_view, kind) -> None:
    view = open_view(kind)
    if kind is Canvas:
        view.click(".af-layer-add")
    for control in view.part("button, select, input:not([type=file])").all():
        name = control.get_attribute("aria-label") or control.inner_text()
        assert name.strip(), control.evaluate("element => element.outerHTML")
    expect(view.part(".af-status")).to_have_attribute("aria-live", "polite")


def test_every_text_is_there_in_every_language(open_view) -> None:
    view = open_view(Webcam)
    script = f"() => {{ {read_parts('shared/i18n.js')}; return Object.values(MESSAGES).map(Object.keys) }}"
    keys = view.page.evaluate(script)
    assert len(keys) == 3 and keys[0] == keys[1] == keys[2] and len(keys[0]) > 50
