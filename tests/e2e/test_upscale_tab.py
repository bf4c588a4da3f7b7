"""The upscale tab in a real browser, and its endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect

from tests.support.shown import file_of

STATUS = "#artflow-upscale-status"


def test_upscale_and_compare(tab, photo: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.open(photo).resize((120, 80)).save(small)
    page = tab("Upscale")
    page.set_input_files("#artflow-upscale-picture input[type=file]", small)
    page.wait_for_selector("#artflow-upscale-picture img")
    page.get_by_role("radio", name="4x").check()
    page.click("#artflow-upscale-run")
    expect(page.locator(STATUS)).to_contain_text("480 x 320 pixels", timeout=60_000)
    made = file_of(page, "#artflow-upscale-result img")
    assert made.size == (480, 320)
    recipe = json.loads(made.info["artflow"])
    assert (recipe["factor"], recipe["upscaler"]) == (4, "span") and "strength" not in recipe
    assert (recipe["width"], recipe["height"]) == (480, 320)
    assert np.abs(np.asarray(made).astype(int) - np.asarray(Image.open(photo))).mean() < 6
    expect(page.locator("#artflow-upscale-slider img")).to_have_count(2)


def test_cancel(tab, photo: Path) -> None:
    page = tab("Upscale")
    page.set_input_files("#artflow-upscale-picture input[type=file]", photo)
    page.wait_for_selector("#artflow-upscale-picture img")
    page.get_by_role("radio", name="8x").check()
    page.click("#artflow-upscale-run")
    expect(page.locator(STATUS)).to_contain_text("tile 1 of", timeout=60_000)
    page.click("#artflow-upscale-cancel")
    expect(page.locator(STATUS)).to_contain_text("Cancelled", timeout=30_000)


def test_the_endpoint(app_url: str, photo: Path) -> None:
    client = Client(app_url, verbose=False)
    path, _, words = client.predict(handle_file(photo), 3, "lanczos", api_name="/upscale")
    assert Image.open(path).size == (1440, 960) and "1440 x 960" in words
    for values, sentence in (((5, "span"), "5"), ((2, "/etc/passwd"), "upscaler|not in the list")):
        with pytest.raises((AppError, ValueError), match=sentence):
            client.predict(handle_file(photo), *values, api_name="/upscale")
    with pytest.raises(AppError, match="Choose a picture first"):
        client.predict(None, 2, "span", api_name="/upscale")


def test_the_model_redraws_it_in_tiles(tab, photo: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.open(photo).resize((120, 80)).save(small)
    page = tab("Upscale")
    page.set_input_files("#artflow-upscale-picture input[type=file]", small)
    page.wait_for_selector("#artflow-upscale-picture img")
    strength = page.locator("#artflow-upscale-strength").get_by_label("number input for Strength")
    strength.fill("0.3")
    strength.press("Tab")
    page.click("#artflow-upscale-run")
    expect(page.locator(STATUS)).to_contain_text("240 x 160 pixels", timeout=60_000)
    recipe = json.loads(file_of(page, "#artflow-upscale-result img").info["artflow"])
    assert (recipe["strength"], recipe["factor"], recipe["upscaler"]) == (0.3, 2, "span") and recipe["seed"] >= 0
