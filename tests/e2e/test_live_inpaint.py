"""Live inpaint in a real browser with the model that ships: the painted part follows the typing, nothing else does."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

LONG = 120_000
SHOWS = """([name, value]) => {
  const { result, connection } = window[Symbol.for("artflow.hub")].views.inpaint;
  return result.last?.info.recipe[name] === value && result.last.info.frame === connection.frame;
}"""
PROMPT = "#artflow-live-inpaint-prompt textarea"
STROKE = (slice(76, 116), slice(88, 168))  # of the picture, with the brush's width and some more


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 256 x 192: lossless, so that pixels can be compared."""
    y, x = np.mgrid[0:192, 0:256]
    path = tmp_path_factory.mktemp("drawing") / "drawing.png"
    Image.fromarray(np.dstack([x, y, 255 - x]).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def live(tab: Callable[[str], Page], drawing: Path) -> Page:
    """The view with the picture, and a stroke through its middle."""
    page = tab("Inpaint")
    page.get_by_role("tab", name="Live", exact=True).click()
    page.locator(".af-inpaint .af-file").set_input_files(drawing)
    page.wait_for_selector(".af-inpaint[data-state=open]", timeout=LONG)
    page.locator(".af-inpaint .af-size").fill("48")
    box = page.locator(".af-inpaint .af-paper").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.42 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.58 * box["width"], y, steps=6)
    page.mouse.up()
    page.wait_for_selector(".af-inpaint.af-has-result", timeout=LONG)
    return page


def typed(page: Page, words: str) -> np.ndarray:
    """Types a prompt; the result once it shows that, and all of the stroke."""
    page.locator(PROMPT).fill(words)
    return shown(page, "prompt", words)


def shown(page: Page, name: str, value: object) -> np.ndarray:
    """The result once its recipe says this."""
    page.wait_for_function(SHOWS, arg=[name, value], timeout=LONG)
    image = page.evaluate("() => window.artflow.snapshot('inpaint')")["image"]
    return np.array(Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))).convert("RGB"))


def test_the_stroke_follows_the_typing_and_no_other_pixel_changes(live: Page, drawing: Path) -> None:
    before = np.array(Image.open(drawing))
    outside = np.ones(before.shape[:2], bool)
    outside[STROKE] = False
    made = [typed(live, words) for words in ("a strawberry on a white background", "a cactus on a black background")]
    for picture in made:
        assert picture.shape == before.shape
        assert (picture[outside] == before[outside]).all()
        assert (picture != before).any(-1)[STROKE].mean() > 0.3
    assert np.abs(made[0].astype(int) - made[1]).max(-1)[STROKE].mean() > 10


def test_the_seed_alone_makes_it_anew(live: Page) -> None:
    first = typed(live, "a cat")
    live.evaluate("() => window.artflow.set('inpaint', {seed: 77})")
    assert (shown(live, "seed", 77) != first).any()


def test_pictures_of_other_tabs_come_to_it_also_before_it_was_open(tab: Callable[[str], Page], drawing: Path) -> None:
    page = tab("Filters")
    page.locator("#artflow-filter-picture input[type=file]").first.set_input_files(drawing)
    page.wait_for_selector("#artflow-filter-picture img")
    page.click("#artflow-filter-make")
    page.wait_for_selector("#artflow-filter-result img")
    page.click("#artflow-filters-to-live-inpaint")
    page.wait_for_selector(".af-inpaint.af-has-picture", timeout=LONG)
    size = "() => { const c = document.querySelector('.af-inpaint .af-picture'); return [c.width, c.height] }"
    assert page.evaluate(size) == [256, 192]
    page.get_by_role("tab", name="Filters", exact=True).click()
    page.click("#artflow-filters-to-inpaint")  # the other way to inpaint, a tab beside
    expect(page.get_by_role("tab", name="Standard")).to_have_attribute("aria-selected", "true", timeout=LONG)
    page.wait_for_timeout(1500)  # the editor lays the picture out with an animation that ends without a sign
    page.click("#artflow-inpaint-run")
    page.get_by_text("The mask is empty; paint over what to change.").wait_for()  # so there is a picture


def test_what_is_made_goes_to_another_tab_with_its_recipe(live: Page, drawing: Path) -> None:
    typed(live, "a cat")
    live.click("#artflow-live-inpaint-to-filters")
    live.wait_for_selector("#artflow-filter-picture img", timeout=LONG)
    source = live.locator("#artflow-filter-picture img").first.get_attribute("src")
    assert source is not None
    sent = Image.open(io.BytesIO(live.request.get(source).body()))
    assert '"mode": "live-inpaint"' in sent.info["artflow"] and sent.size == (256, 192)
    assert (np.asarray(sent.convert("RGB"))[:8] == np.array(Image.open(drawing))[:8]).all()
