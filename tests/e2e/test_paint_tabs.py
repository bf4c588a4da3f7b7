"""Inpaint and outpaint in a real browser: what is painted changes, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page, expect
from skimage import data

from tests.support.browser import paint_stroke
from tests.support.shown import file_of, picture_of

LONG = 120_000
EDITOR = "#artflow-inpaint-editor"
SAYS = "([id, words]) => document.querySelector(id)?.textContent.includes(words)"


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 256 x 192: lossless, so that bytes can be compared."""
    y, x = np.mgrid[0:192, 0:256]
    picture = np.dstack([x, y, 255 - x]).astype(np.uint8)
    path = tmp_path_factory.mktemp("drawing") / "drawing.png"
    Image.fromarray(picture).save(path)
    return path


def test_only_what_is_painted_over_changes(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Inpaint")
    open_to_paint(page, drawing)
    paint_stroke(page, EDITOR)
    page.locator("#artflow-inpaint-prompt textarea").fill("a red apple on a blue background")
    page.locator("#artflow-inpaint-run").click()
    page.wait_for_function(SAYS, arg=["#artflow-inpaint-status", "Done"], timeout=LONG)
    before, after = np.array(Image.open(drawing)), picture_of(page, "#artflow-inpaint-result img")
    assert after.shape == before.shape
    changed = (after != before).any(-1)
    assert changed.any()
    border = np.ones_like(changed)
    border[24:-24, 24:-24] = False
    assert not changed[border].any()
    sides = [picture_of(page, f"#artflow-inpaint-slider img >> nth={i}") for i in (0, 1)]
    assert sorted((side == before).all() for side in sides) == [False, True], "the slider has the picture of before"
    assert sorted((side == after).all() for side in sides) == [False, True], "and the result"
    page.locator("#artflow-inpaint-show-mask input").check()
    page.wait_for_selector("#artflow-inpaint-tinted img")
    tint = np.abs(after.astype(int) - picture_of(page, "#artflow-inpaint-tinted img")).max(-1)
    assert (tint > 30).any() and not (tint[border] > 30).any(), "the tint lies on the mask, and only there"


def test_a_stroke_is_removed_without_a_prompt(tab: Callable[[str], Page], tmp_path: Path) -> None:
    """A red bar on a gradient is gone, the gradient goes on, and the page says who did it."""
    before = np.dstack([np.linspace(60, 200, 256).astype(np.uint8)[None].repeat(192, 0)] * 3)
    spotted = before.copy()
    spotted[92:100, 120:136] = (255, 0, 0)  # in the middle of the stroke
    Image.fromarray(spotted).save(tmp_path / "spotted.png")
    page = tab("Inpaint")
    open_to_paint(page, tmp_path / "spotted.png")
    paint_stroke(page, EDITOR)
    page.locator("#artflow-inpaint-remove").click()
    page.wait_for_function(SAYS, arg=["#artflow-inpaint-status", "Filled by MI-GAN"], timeout=LONG)
    after = picture_of(page, "#artflow-inpaint-result img")
    assert np.abs(after[92:100, 120:136].astype(int) - before[92:100, 120:136]).mean() < 12
    assert (after[:20] == before[:20]).all()


def test_the_subject_is_selected_and_removed(tab: Callable[[str], Page], tmp_path: Path) -> None:
    before = data.coffee()
    Image.fromarray(before).save(tmp_path / "coffee.png")
    page = tab("Inpaint")
    open_to_paint(page, tmp_path / "coffee.png")
    page.locator("#artflow-inpaint-select").click()
    page.wait_for_timeout(6000)  # the editor draws what it is sent, and does not tell when it has
    page.locator("#artflow-inpaint-remove").click()
    page.wait_for_function(SAYS, arg=["#artflow-inpaint-status", "Filled by MI-GAN"], timeout=LONG)
    changed = (picture_of(page, "#artflow-inpaint-result img") != before).any(-1)
    assert changed[120:320, 200:420].mean() > 0.9, "the cup and its saucer are gone"
    assert not changed[:, :40].any() and not changed[:, -60:].any(), "and nothing else"


def open_to_paint(page: Page, file: Path) -> None:
    """Hand a picture in to the inpaint tab, and take the brush."""
    page.wait_for_selector("#artflow-inpaint-editor canvas")
    page.wait_for_timeout(1500)  # a picture that comes before the editor has set itself up is lost, and nothing tells
    page.set_input_files("#artflow-inpaint-picture input[type=file]", file)
    page.wait_for_selector("#artflow-inpaint-picture img")
    page.wait_for_timeout(1500)  # the editor fits the picture to its pane with an animation that ends without a sign
    page.locator("#artflow-inpaint-editor [aria-label='Brush'], [aria-label='Draw button']").first.click()
    page.wait_for_timeout(500)


def test_see_through_and_huge_pictures_change_only_where_they_are_painted_over(
    tab: Callable[[str], Page], tmp_path: Path
) -> None:
    """Browsers would hand them back with other colours, or not show them at all."""
    x = np.mgrid[0:192, 0:256][1]
    rng = np.random.default_rng(3)
    ghost = np.dstack([rng.integers(0, 256, (192, 256, 3)), x]).astype(np.uint8)
    wide = np.dstack([np.linspace(0, 255, 20_000).astype(np.uint8)[None].repeat(700, 0)] * 3)
    for name, before in (("ghost", ghost), ("wide", wide)):
        Image.fromarray(before).save(tmp_path / f"{name}.png")
        page = tab("Inpaint")
        open_to_paint(page, tmp_path / f"{name}.png")
        paint_stroke(page, EDITOR)
        page.locator("#artflow-inpaint-run").click()
        page.wait_for_function(SAYS, arg=["#artflow-inpaint-status", "Done"], timeout=LONG)
        after = np.asarray(file_of(page, "#artflow-inpaint-result img"))
        assert after.shape == before.shape
        changed = (after != before).any(-1)
        assert 0 < changed.mean() < 0.3
        assert not changed[:, : before.shape[1] // 4].any()


def test_bad_files_and_nothing_painted_are_said(tab: Callable[[str], Page], drawing: Path, tmp_path: Path) -> None:
    page = tab("Inpaint")
    open_to_paint(page, drawing)
    page.locator("#artflow-inpaint-run").click()
    page.get_by_text("The mask is empty; paint over what to change.").wait_for(timeout=LONG)
    bad = {"The picture cannot be read": drawing.read_bytes()[:300], "are no JPEG, PNG, WebP": b"some words"}
    for sentence, content in bad.items():
        page = tab("Inpaint")
        paint_stroke(page, EDITOR)
        page.locator("#artflow-inpaint-run").click()
        page.get_by_text("Choose a picture first.").wait_for(timeout=LONG)
        (tmp_path / "bad.png").write_bytes(content)
        page.set_input_files("#artflow-inpaint-picture input[type=file]", tmp_path / "bad.png")
        page.get_by_text(sentence).first.wait_for()
        page.locator("#artflow-inpaint-run").click()
        page.get_by_text(sentence).nth(1).wait_for()
        assert not page.locator("#artflow-inpaint-result img").count()


def test_the_bin_takes_away_the_strokes_and_not_the_picture(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Inpaint")
    open_to_paint(page, drawing)
    paint_stroke(page, EDITOR)
    page.locator("#artflow-inpaint-editor").get_by_label("Clear canvas").click()
    page.wait_for_timeout(1500)
    page.locator("#artflow-inpaint-run").click()
    page.get_by_text("The mask is empty; paint over what to change.").wait_for(timeout=LONG)


def test_the_picture_goes_on_beyond_its_borders(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Outpaint")
    page.locator("#artflow-outpaint-source input[type=file]").first.set_input_files(drawing)
    page.get_by_label("number input for Right").fill("64")
    page.get_by_label("number input for Right").press("Tab")
    page.locator("#artflow-outpaint-prompt textarea").fill("grass under a blue sky")
    page.locator("#artflow-outpaint-run").click()
    page.wait_for_function(SAYS, arg=["#artflow-outpaint-status", "Done"], timeout=LONG)
    before, after = np.array(Image.open(drawing)), picture_of(page, "#artflow-outpaint-result img")
    assert after.shape == (192, 256 + 64, 3)
    assert (after[:, :256] == before).all()
    assert after[:, 256:].std() > 0


def test_an_aspect_waits_for_the_picture_and_too_much_is_said(tab: Callable[[str], Page], tmp_path: Path) -> None:
    page = tab("Outpaint")
    page.get_by_label("16:9").check()
    Image.new("RGB", (1500, 4000), "teal").save(tmp_path / "tall.png")
    page.set_input_files("#artflow-outpaint-source input[type=file]", tmp_path / "tall.png")
    expect(page.locator("#artflow-outpaint-size")).to_contain_text("1500 x 4000 becomes 7111 x 4000 pixels.")
    page.get_by_label("number input for Up").fill("4000")
    page.get_by_label("number input for Up").press("Tab")
    expect(page.locator("#artflow-outpaint-size")).to_contain_text("7111 x 8000 pixels.")
    page.get_by_label("number input for Down").fill("4000")
    page.get_by_label("number input for Down").press("Tab")
    said = page.locator(".toast-body").first
    expect(said).to_contain_text("The result would be 7111 x 12000; at most 68000000 pixels")


def test_programs_may_ask_for_an_aspect(app_url: str, drawing: Path) -> None:
    client = Client(app_url, verbose=False)
    path, words = client.predict(handle_file(drawing), ratio=2, anchor="left", api_name="/outpaint")
    before, after = np.array(Image.open(drawing)), np.array(Image.open(path))
    assert words.startswith("Done") and after.shape == (192, 384, 3) and (after[:, :256] == before).all()
    with pytest.raises(AppError, match=r"The aspect 9 is not allowed: from 0\.25 \(1:4\) to 4 \(4:1\)"):
        client.predict(handle_file(drawing), ratio=9, api_name="/outpaint")
