"""Inpaint and outpaint in a real browser: what is painted changes, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

LONG = 120_000
SAYS = "([id, words]) => document.querySelector(id)?.textContent.includes(words)"


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 256 x 192: lossless, so that bytes can be compared."""
    y, x = np.mgrid[0:192, 0:256]
    picture = np.dstack([x, y, 255 - x]).astype(np.uint8)
    path = tmp_path_factory.mktemp("drawing") / "drawing.png"
    Image.fromarray(picture).save(path)
    return path


def shown(page: Page, selector: str) -> np.ndarray:
    """The picture of an image component, as it was served."""
    source = page.locator(f"{selector} img").first.get_attribute("src", timeout=LONG)
    assert source is not None
    return np.array(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"))


def test_only_what_is_painted_over_changes(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Inpaint")
    page.wait_for_selector("#artflow-inpaint-editor canvas")
    page.wait_for_timeout(1500)  # a file that comes before the editor has set itself up is lost, and nothing tells when
    page.locator("#artflow-inpaint-editor input[type=file]").first.set_input_files(drawing)
    canvas = page.locator("#artflow-inpaint-editor canvas").first
    page.locator("#artflow-inpaint-editor [aria-label='Brush'], [aria-label='Draw button']").first.click()
    page.wait_for_timeout(1500)  # the editor fits the picture to its pane with an animation that ends without a sign
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 15, y)
    page.mouse.down()
    page.mouse.move(x + 15, y, steps=6)
    page.mouse.up()
    page.locator("#artflow-inpaint-prompt textarea").fill("a red apple on a blue background")
    page.locator("#artflow-inpaint-run").click()
    page.wait_for_function(SAYS, arg=["#artflow-inpaint-status", "Made"], timeout=LONG)
    before, after = np.array(Image.open(drawing)), shown(page, "#artflow-inpaint-result")
    assert after.shape == before.shape
    changed = (after != before).any(-1)
    assert changed.any()
    border = np.ones_like(changed)
    border[24:-24, 24:-24] = False
    assert not changed[border].any()
    page.locator("#artflow-inpaint-show-mask input").check()
    page.wait_for_selector("#artflow-inpaint-tinted img")
    tint = np.abs(after.astype(int) - shown(page, "#artflow-inpaint-tinted")).max(-1)
    assert (tint > 30).any() and not (tint[border] > 30).any(), "the tint lies on the mask, and only there"


def test_nothing_painted_is_said(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Inpaint")
    page.locator("#artflow-inpaint-run").click()
    page.get_by_text("There is no picture yet; drop one on the left.").wait_for(timeout=LONG)


def test_the_picture_goes_on_beyond_its_borders(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Outpaint")
    page.locator("#artflow-outpaint-source input[type=file]").first.set_input_files(drawing)
    page.get_by_label("number input for Right").fill("64")
    page.get_by_label("number input for Right").press("Tab")
    page.locator("#artflow-outpaint-prompt textarea").fill("grass under a blue sky")
    page.locator("#artflow-outpaint-run").click()
    page.wait_for_function(SAYS, arg=["#artflow-outpaint-status", "Made"], timeout=LONG)
    before, after = np.array(Image.open(drawing)), shown(page, "#artflow-outpaint-result")
    assert after.shape == (192, 256 + 64, 3)
    assert (after[:, :256] == before).all()
    assert after[:, 256:].std() > 0


def test_an_aspect_waits_for_the_picture_and_too_much_is_said(tab: Callable[[str], Page], tmp_path: Path) -> None:
    page = tab("Outpaint")
    page.get_by_label("16:9").check()
    Image.new("RGB", (600, 1600), "teal").save(tmp_path / "tall.png")
    page.set_input_files("#artflow-outpaint-source input[type=file]", tmp_path / "tall.png")
    expect(page.locator("#artflow-outpaint-size")).to_contain_text("600 x 1600 becomes 2844 x 1600 pixels.")
    page.get_by_label("number input for Up").fill("4000")
    page.get_by_label("number input for Up").press("Tab")
    expect(page.locator("#artflow-outpaint-size")).to_contain_text("2844 x 5600 pixels.")
    page.get_by_label("number input for Down").fill("4000")
    page.get_by_label("number input for Down").press("Tab")
    said = page.locator(".toast-body").first
    expect(said).to_contain_text("The result would be 2844 x 9600; at most 16000000 pixels")
