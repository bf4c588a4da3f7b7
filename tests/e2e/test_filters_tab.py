"""The filters tab in a real browser, and its endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.shown import file_of, picture_of, source, wait_for_new

PREVIEW = "#artflow-filter-preview img"
LAYER = ".column > .gr-group[id^='artflow-filter-layer-']"  # Gradio nests a group in itself


@pytest.fixture
def filters(tab, photo: Path) -> Page:
    """The tab with a picture in it."""
    page = tab("Filters")
    page.set_input_files("#artflow-filter-picture input[type=file]", photo)
    page.wait_for_selector(PREVIEW)
    return page


def add(page: Page, title: str, *, changes: bool = True) -> None:
    count = page.locator(LAYER).count()
    old = source(page, PREVIEW)
    page.locator("#artflow-filter-add input").click()
    page.get_by_role("option", name=title).click()
    expect(page.locator(LAYER)).to_have_count(count + 1)
    if changes:
        wait_for_new(page, PREVIEW, old)


def test_build_a_stack_undo_it_and_take_the_result_away(filters: Page, photo: Path) -> None:
    page = filters
    before = picture_of(page, PREVIEW)
    add(page, "Colour: Invert")
    inverted = picture_of(page, PREVIEW)
    assert np.abs(255 - inverted.astype(int) - before).mean() < 4

    address = source(page, PREVIEW)
    page.locator(f"{LAYER} input[type=range]").first.fill("0.5")  # half the negative is plain grey
    address = wait_for_new(page, PREVIEW, address)
    assert picture_of(page, PREVIEW).std() < 5
    page.click("#artflow-filter-undo")
    wait_for_new(page, PREVIEW, address)
    assert np.abs(picture_of(page, PREVIEW).astype(int) - inverted).mean() < 1

    add(page, "Shape: Crop", changes=False)
    expect(page.locator(LAYER).nth(1)).to_contain_text("2. Crop")
    page.locator(LAYER).nth(1).get_by_role("button", name="↑").click()
    expect(page.locator(LAYER).nth(0)).to_contain_text("1. Crop")
    address = source(page, PREVIEW)
    page.locator(LAYER).nth(1).get_by_role("checkbox").first.click()
    wait_for_new(page, PREVIEW, address)
    assert np.abs(picture_of(page, PREVIEW).astype(int) - before).mean() < 1

    page.click("#artflow-filter-make")
    page.wait_for_selector("#artflow-filter-result img")
    made = file_of(page, "#artflow-filter-result img")
    assert np.array_equal(np.asarray(made), np.asarray(Image.open(photo)))  # one is off, the other crops nothing
    recipe = json.loads(made.info["artflow"])
    assert [layer["filter"] for layer in recipe["filters"]] == ["crop", "invert"]


def test_a_click_on_a_preset_applies_it(filters: Page) -> None:
    page = filters
    thumbnails = page.locator("#artflow-filter-presets .thumbnail-item")
    expect(thumbnails).to_have_count(12)
    address = source(page, PREVIEW)
    thumbnails.nth(5).click()
    wait_for_new(page, PREVIEW, address)
    shown = picture_of(page, PREVIEW).astype(int)
    assert np.abs(shown[..., 0] - shown[..., 2]).mean() < 3  # noir is grey
    expect(page.locator(LAYER)).to_have_count(4)


def test_a_broken_file_is_one_sentence(tab, tmp_path: Path) -> None:
    page = tab("Filters")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    page.set_input_files("#artflow-filter-picture input[type=file]", tmp_path / "broken.png")
    expect(page.locator(".toast-body").first).to_contain_text("picture")
    page.click("#artflow-filter-make")


def test_the_endpoint(app_url: str, photo: Path, tmp_path: Path) -> None:
    client = Client(app_url, verbose=False, download_files=str(tmp_path))
    stack = [{"filter": "flip"}, {"filter": "resize", "parameters": {"width": 120}}]
    path, words = client.predict(handle_file(photo), stack, api_name="/filter")
    made = Image.open(path)
    assert words.startswith("Done")
    assert made.size == (120, 80) and json.loads(made.info["artflow"])["filters"][0]["filter"] == "flip"
    with pytest.raises(AppError, match="There is no filter 'swirl'"):
        client.predict(handle_file(photo), [{"filter": "swirl"}], api_name="/filter")
    with pytest.raises(AppError, match="Choose a picture first"):
        client.predict(None, stack, api_name="/filter")
    page = tmp_path / "page.gif"
    page.write_bytes(b"<html></html>")
    with pytest.raises(AppError, match="no JPEG, PNG, WebP, AVIF"):
        client.predict(handle_file(page), stack, api_name="/filter")


def test_the_stack_goes_to_the_live_views_while_the_switch_is_on(tab) -> None:
    page = tab("Filters")
    page.locator("#artflow-filter-live input").check()
    page.locator("#artflow-filter-add input").click()
    page.get_by_role("option", name="Colour: Invert").click()
    filters = "() => JSON.stringify(window[Symbol.for('artflow.hub')].settings.canvas.filters)"
    page.wait_for_function(f"() => ({filters})()?.includes('invert')")
    page.locator("#artflow-filter-live input").uncheck()
    page.wait_for_function(f"() => ({filters})() === 'null'")


def test_a_filter_is_added_with_the_keyboard(filters: Page) -> None:
    page = filters
    for count in (1, 2):  # the same one twice
        page.locator("#artflow-filter-add input").focus()
        page.keyboard.type("Invert")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator(LAYER)).to_have_count(count)
        expect(page.locator("#artflow-filter-add input")).to_have_value("")
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    expect(page.locator(LAYER)).to_have_count(2)


def test_a_stack_too_long_for_live_pictures_is_said_where_it_is_made(filters: Page, photo: Path) -> None:
    page = filters
    add(page, "Painting: Style of a picture", changes=False)
    page.set_input_files(f"{LAYER} input[type=file]", photo)
    page.locator("#artflow-filter-live input").check()
    expect(page.locator("#artflow-filter-live-words")).to_contain_text("too long for live pictures", timeout=60_000)
    assert page.evaluate("window[Symbol.for('artflow.hub')].settings.canvas.filters") is None
