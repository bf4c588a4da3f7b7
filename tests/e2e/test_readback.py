"""Dropping a picture fills the tab that made it, or the text tab."""

from __future__ import annotations

from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from artflow.images import encode_png
from tests.support.live import noisy

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
    page.set_input_files("#artflow-readback input[type=file]", made)
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value("a red apple")
    expect(page.get_by_role("tab", name="Text", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("spinbutton", name="number input for Steps")).to_have_value("7")
    expect(page.locator("#artflow-readback-words")).to_contain_text("no such value: model nobody/knows")


LIVE = {"mode": "realtime", "prompt": "a panda on snow", "strength": 0.35, "steps": 3, "seed": 77, "width": 128}
PAINTED = {"mode": "inpaint", "prompt": "a hat", "fill": "noise", "feather": 13, "strength": 0.6, "model": "pocket"}


@pytest.mark.parametrize(
    ("recipe", "tab_name", "prompt", "numbers"),
    [
        (LIVE, "Webcam", "#artflow-realtime-prompt", {"Change": "0.35", "Steps": "3"}),
        (PAINTED, "Inpaint", "#artflow-inpaint-prompt", {"Feather": "13", "Strength": "0.6"}),
    ],
)
def test_each_mode_has_its_tab(tab, tmp_path: Path, recipe: dict, tab_name: str, prompt: str, numbers: dict) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), recipe))
    page = tab("Filters")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-readback input[type=file]", path)
    expect(page.get_by_role("tab", name=tab_name, exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.locator(f"{prompt} textarea")).to_have_value(recipe["prompt"])
    shown = page.locator("[role=tabpanel]:visible")
    for name, value in numbers.items():
        expect(shown.get_by_label(f"number input for {name}", exact=True).first).to_have_value(value)


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
    page.get_by_role("button", name="HiresFix: a larger picture, drawn in two passes").click()
    enlarge = page.get_by_label("number input for Enlarge")
    enlarge.fill("2")
    enlarge.press("Tab")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-readback input[type=file]", made)
    expect(page.locator("#artflow-text-prompt textarea")).to_have_value("a red apple")
    expect(enlarge).to_have_value("1")


def test_what_a_control_cannot_show_is_said_and_left_out(tab, tmp_path: Path) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), RECIPE | {"hires_scale": 2, "hires_upscaler": "Latent", "hires_steps": 60}))
    page = tab("Webcam")
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-readback input[type=file]", path)
    words = page.locator("#artflow-readback-words")
    for name in ("hires_upscaler", "hires_steps", "model nobody/knows"):
        expect(words).to_contain_text(name)


def test_an_inpaint_picture_opens_the_tab_that_it_fills(tab, tmp_path: Path) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(encode_png(noisy(1), PAINTED))
    page = tab("Inpaint")
    page.get_by_role("tab", name="Live", exact=True).click()
    page.get_by_role("button", name="Read a picture's settings").click()
    page.set_input_files("#artflow-readback input[type=file]", path)
    inner = page.get_by_role("tab", name="Paint, then make", exact=True)
    expect(inner).to_have_attribute("aria-selected", "true")
