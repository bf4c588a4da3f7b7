""" "Send to" in a real browser: pictures go from tab to tab, and their recipes with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import paint_stroke
from tests.support.shown import file_of, picture_of

MADE = 60_000
PROMPT = "a strawberry on a green background"


def opened(page: Page, name: str) -> None:
    expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")


@pytest.fixture
def drawn(tab: Callable[[str], Page]) -> Page:
    """The text tab with a picture in it."""
    page = tab("Text")
    page.locator("#artflow-text-prompt textarea").fill(PROMPT)
    page.click("#artflow-generate")
    expect(page.locator("#artflow-text-status")).to_contain_text("Done", timeout=MADE)
    page.wait_for_selector("#artflow-text-gallery img")
    return page


def test_a_picture_goes_through_tabs_and_keeps_its_recipe(drawn: Page) -> None:
    page = drawn
    made = picture_of(page, "#artflow-text-gallery img")
    page.click("#artflow-text-to-filters")
    opened(page, "Filters")
    page.wait_for_selector("#artflow-filter-picture img")
    assert (picture_of(page, "#artflow-filter-picture img") == made).all()
    page.click("#artflow-filter-make")
    page.wait_for_selector("#artflow-filter-result img")
    page.click("#artflow-filters-to-upscale")
    opened(page, "Upscale")
    page.wait_for_selector("#artflow-upscale-picture img")
    recipe = file_of(page, "#artflow-upscale-picture img").info["artflow"]
    assert PROMPT in recipe and '"filters"' in recipe
    page.click("#artflow-upscale-run")
    expect(page.locator("#artflow-upscale-status")).to_contain_text("256 x 256 pixels", timeout=MADE)


def test_a_picture_is_carried_on_and_painted_over_in_other_tabs(drawn: Page) -> None:
    page = drawn
    made = picture_of(page, "#artflow-text-gallery img")
    page.click("#artflow-text-to-outpaint")
    opened(page, "Outpaint")
    expect(page.locator("#artflow-outpaint-prompt textarea")).to_have_value(PROMPT)  # what is to go on
    page.get_by_label("number input for Right").fill("25")
    page.get_by_label("number input for Right").press("Tab")
    page.get_by_label("Unit", exact=True).click()
    page.get_by_role("option", name="percent").click()
    expect(page.locator("#artflow-outpaint-size")).to_contain_text("128 x 128 becomes 160 x 128 pixels")
    page.click("#artflow-outpaint-run")
    expect(page.locator("#artflow-outpaint-status")).to_contain_text("Done", timeout=MADE)
    wider = picture_of(page, "#artflow-outpaint-result img")
    assert wider.shape == (128, 160, 3) and (wider[:, :128] == made).all()
    page.click("#artflow-outpaint-to-inpaint")
    opened(page, "Inpaint")
    page.wait_for_selector("#artflow-inpaint-editor canvas")
    page.wait_for_timeout(1500)  # the editor lays the picture out with an animation that ends without a sign
    paint_stroke(page, "#artflow-inpaint-editor")
    page.click("#artflow-inpaint-run")  # refused if the editor showed another picture, or none
    expect(page.locator("#artflow-inpaint-status")).to_contain_text("Done", timeout=MADE)
    painted = picture_of(page, "#artflow-inpaint-result img")
    changed = (painted != wider).any(-1)
    assert changed.any() and not changed[:, 150:].any()


def test_a_picture_becomes_the_paper_of_the_canvas_also_before_that_was_open(drawn: Page) -> None:
    page = drawn
    page.click("#artflow-text-to-canvas")
    opened(page, "Canvas")
    page.wait_for_selector("#artflow-canvas .af-has-result", timeout=MADE)
    red, green, _ = page.evaluate(
        """() => {
          const paper = document.querySelector("#artflow-canvas .af-paper");
          return [...paper.getContext("2d").getImageData(10, 10, 1, 1).data];
        }"""
    )[:3]
    assert green > red + 40  # the strawberry's background, where blank paper would be white


def test_the_live_frame_goes_to_another_tab_with_its_recipe(tab: Callable[[str], Page]) -> None:
    page = tab("Webcam")
    page.click("#artflow-realtime-to-upscale")
    page.get_by_text("There is no picture to send yet.").wait_for()
    page.locator("#artflow-webcam .af-start").click()
    page.wait_for_selector("#artflow-webcam .af-has-result", timeout=MADE)
    page.click("#artflow-realtime-to-upscale")
    opened(page, "Upscale")
    page.wait_for_selector("#artflow-upscale-picture img")
    sent = file_of(page, "#artflow-upscale-picture img")
    assert '"mode": "realtime"' in sent.info["artflow"]
    assert np.asarray(sent.convert("RGB")).std() > 10
