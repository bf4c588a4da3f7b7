"""Dropping a picture fills the tab that made it, or the text tab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect

from artflow.metadata import encode_png
from tests.support.live import noisy
from tests.support.shown import picture_of, source, wait_for_new

RECIPE = {"mode": "text", "prompt": "a red apple", "negative_prompt": "blurry", "steps": 7, "seed": 4242,
          "sampler": "DDIM", "width": 320, "model": "nobody/knows"}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), RECIPE))
    return path


def test_a_dropped_picture_fills_the_text_tab(tab, made: Path) -> None:
    page = tab("Webcam")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-metadata input[type=file]", made)
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value("a red apple")
    expect(page.get_by_role("tab", name="Text", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("spinbutton", name="number input for Steps")).to_have_value("7")
    expect(page.locator("#artflow-metadata-words")).to_contain_text("no such value: model nobody/knows")


LIVE = {"mode": "realtime", "prompt": "a panda on snow", "strength": 0.35, "steps": 3, "seed": 77, "width": 128}
PAINTED = {"mode": "inpaint", "prompt": "a hat", "fill": "noise", "feather": 13, "strength": 0.6, "model": "pocket"}


@pytest.mark.parametrize(
    ("recipe", "tab_name", "prompt", "numbers"),
    [
        (LIVE, "Webcam", "#artflow-realtime-prompt", {"Strength": "0.35", "Steps": "3"}),
        (PAINTED, "Inpaint", "#artflow-inpaint-prompt", {"Feather": "13", "Strength": "0.6"}),
    ],
)
def test_each_mode_has_its_tab(tab, tmp_path: Path, recipe: dict, tab_name: str, prompt: str, numbers: dict) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), recipe))
    page = tab("Filters")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-metadata input[type=file]", path)
    expect(page.get_by_role("tab", name=tab_name, exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator(f"{prompt} textarea")).to_have_value(recipe["prompt"])
    shown = page.locator("[role=tabpanel]:visible")
    for name, value in numbers.items():
        expect(shown.get_by_label(f"number input for {name}", exact=True).first).to_have_value(value)


def read(page: Page, path: Path, recipe: dict[str, Any]) -> None:
    """Drops a picture of this recipe."""
    path.write_bytes(encode_png(noisy(1), recipe))
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-metadata input[type=file]", path)


def test_a_picture_of_the_filters_tab_brings_its_stack(tab, tmp_path: Path, photo: Path) -> None:
    page = tab("Filters")
    page.set_input_files("#artflow-filter-picture input[type=file]", photo)
    page.wait_for_selector("#artflow-filter-preview img")
    before, plain = (look(page, "#artflow-filter-preview img") for look in (source, picture_of))
    page.get_by_role("tab", name="Text", exact=True).click()
    stack = [{"filter": "invert", "parameters": {"amount": 1}}, {"filter": "flip", "on": False}]
    read(page, tmp_path / "made.png", {"mode": "filter", "filters": stack})
    expect(page.get_by_role("tab", name="Filters", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator("#artflow-filter-layer-0").first).to_contain_text("1. Invert")
    expect(page.locator("#artflow-filter-layer-1").first).to_contain_text("2. Flip")
    wait_for_new(page, "#artflow-filter-preview img", before)
    assert np.abs(255 - picture_of(page, "#artflow-filter-preview img").astype(int) - plain).mean() < 4
    expect(page.locator("#artflow-metadata-words")).to_have_text("From ArtFlow.")
    page.click("#artflow-filter-undo")  # to the stack that was there
    expect(page.locator("#artflow-filter-layer-0")).to_have_count(0)


def test_a_stack_that_this_app_does_not_know_is_said(tab, tmp_path: Path) -> None:
    page = tab("Text")
    read(page, tmp_path / "made.png", {"mode": "filter", "filters": [{"filter": "swirl"}]})
    expect(page.locator(".toast-body").first).to_contain_text("There is no filter 'swirl'")


def test_filters_over_a_picture_of_another_tab_are_said(tab, tmp_path: Path) -> None:
    page = tab("Webcam")
    read(page, tmp_path / "made.png", {"mode": "text", "prompt": "a fox", "filters": [{"filter": "invert"}]})
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value("a fox")
    expect(page.locator("#artflow-metadata-words")).to_contain_text("The filters that the picture went through")


def test_a_live_inpaint_picture_fills_the_live_tab(tab, tmp_path: Path) -> None:
    recipe = {"mode": "live-inpaint", "prompt": "a hat", "prompt_b": "a crown", "blend": 0.4, "feather": 13,
              "cfg_type": "self", "delta": 0.7, "width": 256, "height": 192, "seed_b": 9}  # fmt: skip
    page = tab("Inpaint")
    read(page, tmp_path / "made.png", recipe)
    live = page.get_by_role("tab", name="Live", exact=True)
    expect(live).to_have_attribute("aria-selected", "true")
    expect(page.locator("#artflow-live-inpaint-prompt textarea")).to_have_value("a hat")
    page.locator("[role=tabpanel]:visible").get_by_role("button", name="Advanced settings").last.click()
    expect(page.get_by_label("Second prompt").locator("visible=true")).to_have_value("a crown")
    settings = "() => window[Symbol.for('artflow.hub')].settings.inpaint"
    page.wait_for_function(f"() => ({settings})().delta === 0.7")  # so the next picture is made with them
    told = page.evaluate(settings)
    assert told | {k: v for k, v in recipe.items() if k in told} == told
    words = "From ArtFlow. Not taken over, because this tab has no control for it: seed_b."
    expect(page.locator("#artflow-metadata-words")).to_have_text(words)


def test_the_endpoint(app_url: str, made: Path, tmp_path: Path) -> None:
    client = Client(app_url, verbose=False)
    about = client.predict(handle_file(made), api_name="/read_back")
    assert about["source"] == "ArtFlow" and about["values"]["seed"] == 4242
    Image.new("RGB", (9, 9)).save(tmp_path / "plain.png")
    with pytest.raises(AppError, match="holds no settings"):
        client.predict(handle_file(tmp_path / "plain.png"), api_name="/read_back")


def test_a_picture_of_one_pass_switches_the_second_off(tab, made: Path, tmp_path: Path) -> None:
    """What its writer does not have is not left as it was where that would make another picture."""
    page = tab("Text")
    page.get_by_role("button", name="Hires fix").click()
    enlarge = page.get_by_label("number input for Upscale by")
    enlarge.fill("2")
    enlarge.press("Tab")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-metadata input[type=file]", made)
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value("a red apple")
    expect(enlarge).to_have_value("1")


def test_what_a_control_cannot_show_is_said_and_left_out(tab, tmp_path: Path) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), RECIPE | {"hires_scale": 2, "hires_upscaler": "Latent", "hires_steps": 200}))
    page = tab("Webcam")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-metadata input[type=file]", path)
    words = page.locator("#artflow-metadata-words")
    for name in ("hires_upscaler", "hires_steps", "model nobody/knows"):
        expect(words).to_contain_text(name, timeout=30_000)


def test_an_inpaint_picture_opens_the_tab_that_it_fills(tab, tmp_path: Path) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), PAINTED))
    page = tab("Inpaint")
    page.get_by_role("tab", name="Live", exact=True).click()
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-metadata input[type=file]", path)
    inner = page.get_by_role("tab", name="Standard", exact=True)
    expect(inner).to_have_attribute("aria-selected", "true")
