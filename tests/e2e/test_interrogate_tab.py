"""The interrogate tab in a real browser, and its endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data

MADE = 60_000
STATUS, PROMPT = "#artflow-interrogate-status", "#artflow-interrogate-prompt textarea"


@pytest.fixture(scope="module")
def cat(app_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a known thing, drawn by the app."""
    client = Client(app_url, verbose=False)
    gallery, *_ = client.predict(prompt="a cat on grass", seed=3, steps=2, api_name="/text")
    path = tmp_path_factory.mktemp("cat") / "cat.png"
    Image.open(gallery[0]["image"]).save(path)
    return path


@pytest.fixture
def opened(tab: Callable[[str], Page], cat: Path) -> Page:
    """The tab with that picture in it."""
    page = tab("Interrogate")
    page.set_input_files("#artflow-interrogate-picture input[type=file]", cat)
    page.wait_for_selector("#artflow-interrogate-picture img")
    return page


def find(page: Page) -> None:
    page.click("#artflow-interrogate-run")
    expect(page.locator(STATUS)).to_contain_text("Model: the ", timeout=MADE)


def test_the_right_word_its_scores_and_send_to_prompt(opened: Page) -> None:
    page = opened
    find(page)
    prompt = page.input_value(PROMPT)
    assert "a cat" in prompt
    expect(page.locator("#artflow-interrogate-scores")).to_contain_text("a cat")
    expect(page.locator("#artflow-interrogate-scores")).to_contain_text("on grass")
    for tab, name in (("text", "Text"), ("canvas", "Canvas"), ("realtime", "Webcam")):
        page.click(f"#artflow-interrogate-to-{tab}")
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
        expect(page.locator(f"#artflow-{tab}-prompt textarea")).to_have_value(prompt)
        page.get_by_role("tab", name="Interrogate", exact=True).click()


def test_a_negative_prompt_becomes_what_to_avoid(opened: Page) -> None:
    page = opened
    page.get_by_role("radio", name="Negative").check()
    find(page)
    found = page.input_value(PROMPT)
    assert found and "cat" not in found
    page.click("#artflow-interrogate-to-text")
    expect(page.get_by_role("textbox", name="Negative prompt")).to_have_value(found)


def test_a_prompt_goes_where_it_was_asked_for(opened: Page) -> None:
    """Whatever is chosen for the next search by then."""
    page = opened
    page.get_by_role("radio", name="Fast").check()
    page.click("#artflow-interrogate-run")
    page.get_by_role("radio", name="Negative").check()
    expect(page.locator(STATUS)).to_contain_text("Model: ", timeout=MADE)
    page.click("#artflow-interrogate-to-text")
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value(page.input_value(PROMPT))


def test_what_is_no_picture_is_one_sentence(tab: Callable[[str], Page], tmp_path: Path) -> None:
    page = tab("Interrogate")
    page.click("#artflow-interrogate-run")
    expect(page.get_by_text("Choose a picture first.")).to_be_visible()
    page.click("#artflow-interrogate-to-text")
    expect(page.get_by_text("There is no prompt to use yet")).to_be_visible()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing" * 50)
    page.set_input_files("#artflow-interrogate-picture input[type=file]", tmp_path / "broken.png")
    page.wait_for_selector("#artflow-interrogate-picture img", state="attached")
    page.click("#artflow-interrogate-run")
    expect(page.get_by_text("no JPEG, PNG, WebP")).to_be_visible()


def test_the_frame_that_is_shown_live(tab: Callable[[str], Page]) -> None:
    page = tab("Webcam")
    page.locator("#artflow-realtime-prompt textarea").fill("a sunflower on a white background")
    page.locator("#artflow-webcam .af-start").click()
    page.wait_for_selector("#artflow-webcam .af-has-result", timeout=MADE)
    page.click("#artflow-realtime-to-interrogate")
    page.wait_for_selector("#artflow-interrogate-picture img")
    find(page)  # while the camera goes on
    expect(page.locator("#artflow-interrogate-scores")).to_contain_text("%")
    assert page.input_value(PROMPT)


def test_a_photo_says_what_it_shows_and_who_said_it(tab: Callable[[str], Page], tmp_path: Path) -> None:
    Image.fromarray(data.chelsea()).save(tmp_path / "photo.png")
    page = tab("Interrogate")
    page.set_input_files("#artflow-interrogate-picture input[type=file]", tmp_path / "photo.png")
    page.wait_for_selector("#artflow-interrogate-picture img")
    page.click("#artflow-interrogate-run")
    expect(page.locator(STATUS)).to_contain_text("Model: the embedded photo classifier", timeout=MADE)
    expect(page.locator(STATUS)).not_to_contain_text("Similarity")
    prompt = page.input_value(PROMPT)
    assert prompt.startswith("a photo of a cat")
    for words in ("a photo", "background", "light", "tones"):
        expect(page.locator("#artflow-interrogate-scores")).to_contain_text(words)
    page.click("#artflow-interrogate-to-text")
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value(prompt)


def test_the_endpoint(app_url: str, cat: Path, tmp_path: Path) -> None:
    client = Client(app_url, verbose=False)
    prompt, words, scores, mode = client.predict(handle_file(cat), "classic", "embedded", api_name="/interrogate")
    assert prompt.startswith("a cat on grass") and "Model: the small embedded model" in words
    assert mode == "classic" and scores["subject"][0][0] == "a cat" and 0 < scores["subject"][0][1] <= 1
    assert {"subject", "background", "style"} == set(scores)
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    for picture, sentence in ((None, "Choose a picture first"), (handle_file(tmp_path / "one.png"), "1 x 1")):
        with pytest.raises(AppError, match=sentence):
            client.predict(picture, "best", "embedded", api_name="/interrogate")
    with pytest.raises((AppError, ValueError), match="no model 'openai/other' here; there are auto"):
        client.predict(handle_file(cat), "best", "openai/other", api_name="/interrogate")
