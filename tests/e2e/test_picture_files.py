"""Files that no browser shows are seen and worked with in every tab; large photos too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.corpus.pictures import BLOCK_OF_P3, CASES, P3, saved
from tests.support.browser import paint_stroke
from tests.support.shown import file_of, picture_of

LONG = 120_000
PLACES = {
    "Inpaint": "#artflow-inpaint-picture",
    "Outpaint": "#artflow-outpaint-source",
    "Upscale": "#artflow-upscale-picture",
    "Filters": "#artflow-filter-picture",
    "Interrogate": "#artflow-interrogate-picture",
}


@pytest.mark.parametrize("name", ["p3.heic", "on-its-side.tiff"])
@pytest.mark.parametrize("place", PLACES)
def test_what_browsers_do_not_show_is_seen(tab: Callable[[str], Page], tmp_path: Path, place: str, name: str) -> None:
    page, case = tab(place), CASES[name]()
    file = tmp_path / name.upper()  # some systems have no type for it then
    file.write_bytes(case.data)
    page.set_input_files(f"{PLACES[place]} input[type=file]", file)
    page.wait_for_function(
        "(place) => document.querySelector(`${place} img`)?.naturalWidth", arg=PLACES[place], timeout=LONG
    )
    shown = file_of(page, f"{PLACES[place]} img")
    assert shown.size == case.size
    assert ("icc_profile" in shown.info) == name.startswith("p3")
    if place == "Outpaint":
        width, height = case.size
        expect(page.locator("#artflow-outpaint-size")).to_contain_text(f"{width} x {height}")


@pytest.mark.parametrize("view", ["canvas", "inpaint"])
def test_live_views_take_them_too(tab: Callable[[str], Page], tmp_path: Path, view: str) -> None:
    page = tab(view.capitalize())
    if view == "inpaint":
        page.get_by_role("tab", name="Live", exact=True).click()
    (tmp_path / "PHOTO.HEIC").write_bytes(CASES["p3.heic"]().data)
    page.wait_for_selector(f".af-{view}[data-state=open]" if view == "canvas" else f".af-{view}", timeout=LONG)
    page.locator(f".af-{view} .af-file").set_input_files(tmp_path / "PHOTO.HEIC")
    seen = page.wait_for_function(
        """(view) => {
          const { sheet } = window[Symbol.for("artflow.hub")].views[view];
          const paper = document.querySelector(`.af-${view} .af-paper`);
          const { data } = paper.getContext("2d").getImageData(sheet.width / 8, sheet.height / 8, 1, 1);
          return data[0] > 190 && data[2] < 80 ? [...data.slice(0, 3)] : null;
        }""",
        arg=view,
        timeout=LONG,
    ).json_value()
    assert np.abs(np.subtract(seen, BLOCK_OF_P3)).max() <= 6


def test_a_file_of_no_type_may_be_dropped(tab: Callable[[str], Page]) -> None:
    page = tab("Upscale")
    data = list(CASES["plain.heic"]().data)
    page.wait_for_selector("#artflow-upscale-picture input[type=file]", state="attached")
    page.evaluate(
        """(data) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(data)], "IMG_0001.HEIC"));
          const place = document.querySelector("#artflow-upscale-picture input[type=file]").parentElement;
          place.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
        }""",
        data,
    )
    page.wait_for_function("document.querySelector('#artflow-upscale-picture img')?.naturalWidth === 48")


def test_a_heic_photo_is_painted_over_and_keeps_its_colours(tab: Callable[[str], Page], tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(256), np.arange(192))
    (tmp_path / "photo.heic").write_bytes(
        saved(Image.fromarray(np.dstack([x, y, 255 - x]).astype(np.uint8)), "HEIF", icc_profile=P3)
    )
    page = tab("Inpaint")
    page.wait_for_selector("#artflow-inpaint-editor canvas")
    page.wait_for_timeout(1500)
    page.set_input_files("#artflow-inpaint-picture input[type=file]", tmp_path / "photo.heic")
    page.wait_for_function("document.querySelector('#artflow-inpaint-picture img')?.naturalWidth === 256")
    before = np.asarray(file_of(page, "#artflow-inpaint-picture img"))
    page.wait_for_timeout(1500)
    page.locator("#artflow-inpaint-editor [aria-label='Brush'], [aria-label='Draw button']").first.click()
    page.wait_for_timeout(500)
    paint_stroke(page, "#artflow-inpaint-editor")
    page.locator("#artflow-inpaint-run").click()
    result = "#artflow-inpaint-result img"
    page.wait_for_selector(result, timeout=LONG)
    made = file_of(page, result)
    assert made.info["icc_profile"] == P3
    changed = (np.asarray(made) != before).any(-1)
    assert 0 < changed.mean() < 0.3 and not changed[:24].any()
    assert picture_of(page, "#artflow-inpaint-slider img >> nth=0").shape == before.shape


@pytest.fixture(scope="module")
def photo_of_48_megapixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 8064 x 6048, as phones make it: in their colours."""
    small = Image.fromarray(np.random.default_rng(5).integers(0, 256, (12, 16, 3), np.uint8))
    path = tmp_path_factory.mktemp("large") / "photo.jpg"
    small.resize((8064, 6048), Image.Resampling.NEAREST).save(path, quality=80, icc_profile=P3)
    return path


def test_48_megapixels_are_interrogated_and_filtered_on_a_copy_that_is_told(
    tab: Callable[[str], Page], photo_of_48_megapixels: Path
) -> None:
    page = tab("Interrogate")
    page.set_input_files("#artflow-interrogate-picture input[type=file]", photo_of_48_megapixels)
    page.get_by_label("Model").click()
    page.get_by_role("option").filter(has_text="mbedded").first.click()
    page.wait_for_selector("#artflow-interrogate-picture img")
    page.click("#artflow-interrogate-run")
    expect(page.locator("#artflow-interrogate-status")).to_contain_text(
        "It looked at a copy of 1024 x 768 pixels of this picture of 8064 x 6048.", timeout=LONG
    )
    page = tab("Filters")
    page.set_input_files("#artflow-filter-picture input[type=file]", photo_of_48_megapixels)
    expect(page.locator("#artflow-filter-status")).to_contain_text(
        "The preview is a copy of 768 x 576 pixels; what you apply at full size works on all 8064 x 6048.", timeout=LONG
    )
    assert picture_of(page, "#artflow-filter-preview img").shape[:2] == (576, 768)
    page = tab("Outpaint")
    page.set_input_files("#artflow-outpaint-source input[type=file]", photo_of_48_megapixels)
    page.get_by_label("16:9").check()
    expect(page.locator("#artflow-outpaint-size")).to_contain_text("8064 x 6048 becomes 10752 x 6048", timeout=LONG)
