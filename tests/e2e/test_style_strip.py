"""Painter on the page: the strip of styles, a picture's style, and who has answered, with the models that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Locator, Page, expect

from artflow.models.catalog import ROOT
from artflow.models.families.painter.any_picture import decoded
from artflow.models.families.painter.learn import save_style
from artflow.models.families.painter.styles import StyleFiles
from artflow.prompts.styles import LEARNED, styles

PAINTER = ROOT / "artflow/models/painter"
LONG = 120_000
LIVE = "() => Number(document.querySelector('.af-webcam').dataset.shown) > 2"
SHEETS = "(n) => Number(document.querySelector('.af-webcam .af-strip').dataset.sheets ?? 0) >= n"


@pytest.fixture
def webcam(tab: Callable[[str], Page]) -> Page:
    """The webcam tab with its strip."""
    page = tab("Webcam")
    page.locator(".af-webcam [data-style=mosaic]").wait_for(timeout=LONG)
    return page


def style(page: Page, name: str) -> Locator:
    return page.locator(f".af-webcam [data-style={name}]")


def lit(page: Page, *names: str) -> None:
    """These styles are lit, and no others."""
    for name in names:
        expect(style(page, name)).to_have_attribute("aria-pressed", "true", timeout=LONG)
    expect(page.locator(".af-webcam [data-style][aria-pressed=true]")).to_have_count(len(names), timeout=LONG)


def says(page: Page, words: str) -> None:
    expect(page.locator(".af-webcam .af-hint")).to_have_text(words, timeout=LONG)


def prompt(page: Page) -> Locator:
    return page.locator("#artflow-realtime-prompt textarea")


def test_one_click_chooses_a_second_mixes_and_a_third_takes_out(webcam: Page) -> None:
    webcam.locator(".af-webcam .af-start").click()
    says(webcam, "Painter: Van Gogh")
    lit(webcam, "van-gogh")
    style(webcam, "mosaic").click()
    expect(prompt(webcam)).to_have_value("Mosaic")
    says(webcam, "Painter: Mosaic")
    style(webcam, "cubism").click()
    expect(prompt(webcam)).to_have_value("Mosaic, Cubism")
    says(webcam, "Painter: Mosaic 50 %, Cubism 50 %")
    lit(webcam, "mosaic", "cubism")
    style(webcam, "mosaic").click()
    expect(prompt(webcam)).to_have_value("Cubism")
    style(webcam, "cubism").click()
    expect(prompt(webcam)).to_have_value("")
    says(webcam, "Painter: no style is named, so Van Gogh")


def test_the_thumbnails_show_a_sample_and_then_the_camera(webcam: Page) -> None:
    webcam.wait_for_function(SHEETS, arg=1, timeout=LONG)
    before = _thumbnail(webcam)
    webcam.locator(".af-webcam .af-start").click()
    webcam.wait_for_function(SHEETS, arg=2, timeout=LONG)
    assert _thumbnail(webcam) != before


def _thumbnail(page: Page) -> str:
    url: str = page.evaluate("document.querySelector('.af-webcam [data-style=mosaic] canvas').toDataURL()")
    return url


def test_things_are_drawn_and_painted_over_and_the_controls_follow(webcam: Page) -> None:
    webcam.locator(".af-webcam .af-start").click()
    webcam.wait_for_function(LIVE, timeout=LONG)
    strength = webcam.get_by_label("number input for Strength").filter(visible=True)
    expect(strength).to_have_value("1")
    prompt(webcam).fill("a lion on grass, mosaic")
    says(webcam, "Pocket, then Painter: Mosaic")
    expect(strength).to_have_value("0.55")
    lit(webcam, "mosaic")
    style(webcam, "mosaic").click()
    expect(prompt(webcam)).to_have_value("a lion on grass")
    says(webcam, "Pocket")


def test_a_typed_sentence_lights_what_it_names_and_lets_go_of_it(webcam: Page) -> None:
    prompt(webcam).fill("in the style of Picasso and the great wave")
    lit(webcam, "cubism", "hokusai")
    style(webcam, "hokusai").click()
    expect(prompt(webcam)).to_have_value("Cubism")


def test_arrow_keys_go_from_style_to_style(webcam: Page) -> None:
    style(webcam, "van-gogh").focus()
    webcam.keyboard.press("ArrowRight")
    webcam.keyboard.press("ArrowRight")
    third = styles().styles[2]
    expect(style(webcam, third.id)).to_be_focused()
    webcam.keyboard.press("Enter")
    expect(prompt(webcam)).to_have_value(third.names["en"])


def test_a_picture_lends_its_style(webcam: Page, photo: Path) -> None:
    webcam.locator(".af-webcam .af-start").click()
    webcam.locator(".af-webcam .af-style-picture input").set_input_files(photo)
    says(webcam, "Painter: Van Gogh 50 %, your picture 50 %")
    tile = webcam.locator(".af-webcam .af-style-picture .af-style-choose")
    expect(tile).to_have_attribute("aria-pressed", "true")
    style(webcam, "van-gogh").click()  # chooses what stood there already
    style(webcam, "van-gogh").click()
    says(webcam, "Painter: your picture")
    webcam.locator(".af-webcam .af-style-remove").click()
    says(webcam, "Painter: no style is named, so Van Gogh")
    expect(tile).to_have_attribute("aria-pressed", "false")


def test_size_and_model_can_be_chosen(webcam: Page) -> None:
    webcam.locator(".af-webcam .af-start").click()
    webcam.wait_for_function(LIVE, timeout=LONG)
    webcam.get_by_role("button", name="Advanced settings").filter(visible=True).click()
    choose(webcam, "Size", "384 × 384")
    expect(webcam.locator(".af-webcam [data-number=size]")).to_contain_text("384 × 384", timeout=LONG)
    choose(webcam, "Size", "Automatic: the model's own")
    choose(webcam, "Model", "Pocket")
    says(webcam, "Pocket. This model does not know: van, gogh")
    expect(webcam.locator(".af-webcam [data-number=size]")).to_contain_text("128 × 128", timeout=LONG)


def choose(page: Page, menu: str, value: str) -> None:
    page.get_by_label(menu, exact=True).filter(visible=True).click()
    page.get_by_role("option", name=value, exact=True).click()


def test_the_canvas_has_a_strip_too(tab: Callable[[str], Page]) -> None:
    page = tab("Canvas")
    page.locator(".af-canvas [data-style=mosaic]").click(timeout=LONG)
    expect(page.locator("#artflow-canvas-prompt textarea")).to_have_value("Mosaic")


def test_the_client_can_read_a_style(client: Client, photo: Path) -> None:
    read = client.predict(handle_file(photo), api_name="/read_style")
    assert decoded(read).shape == (100,)


# --- styles that people learn -----------------------------------------------------------------------------


@pytest.fixture
def panel(webcam: Page) -> Locator:
    webcam.get_by_role("button", name="Style of a picture, and learned styles").filter(visible=True).click()
    panel = webcam.locator("#artflow-realtime-style")
    panel.get_by_role("button", name="Learn this style").wait_for()
    return panel


def test_learning_says_how_far_it_is_and_can_be_cancelled(webcam: Page, panel: Locator, photo: Path) -> None:
    webcam.locator("#artflow-realtime-style-picture input[type=file]").set_input_files(photo)
    webcam.locator("#artflow-realtime-style-picture img").wait_for()
    panel.get_by_label("Name").fill("My garden")
    panel.get_by_role("button", name="Learn this style").click()
    status = webcam.locator("#artflow-realtime-style-status")
    expect(status).to_contain_text("Learning, update", timeout=LONG)
    panel.get_by_role("button", name="Cancel").click()
    expect(status).to_contain_text("Cancelled.", timeout=LONG)


def test_a_style_that_is_put_back_joins_the_strip_until_it_is_deleted(
    webcam: Page, panel: Locator, tmp_path: Path
) -> None:
    file = tmp_path / "anything.safetensors"
    save_style(file, StyleFiles([PAINTER / "styles"], 990).get("mosaic").numpy(), "Our tiles", "a test", "CC0-1.0")
    try:
        with webcam.expect_file_chooser() as chooser:
            panel.get_by_role("button", name="Put a style back").click()
        chooser.value.set_files(file)
        expect(style(webcam, "our-tiles")).to_be_attached(timeout=LONG)
        prompt(webcam).fill("our tiles")
        lit(webcam, "our-tiles")
        with webcam.expect_download() as download:
            panel.get_by_role("button", name="Save as a file").click()
            panel.locator("#artflow-realtime-style-file a").first.click()
        assert download.value.path().read_bytes() == (LEARNED / "our-tiles.safetensors").read_bytes()
        panel.get_by_role("button", name="Delete").click()
        expect(style(webcam, "our-tiles")).not_to_be_attached(timeout=LONG)
    finally:
        (LEARNED / "our-tiles.safetensors").unlink(missing_ok=True)
