"""The live inpaint view in a real browser: what is painted over follows the prompt, every other pixel stays."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from playwright.sync_api import expect

from artflow.metadata import read_metadata
from artflow.modes.masks import MaskEdge, feathered
from tests.ui.driver import Inpaint, near, wait_until
from tests.ui.echo_server import Echo, Frame

BLUE, RED, LIME = (ImageColor.getrgb(name) for name in ("blue", "red", "lime"))
MIDDLE = (0.5, 0.5)


def read(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def saved(path: Path, size: tuple[int, int]) -> Path:
    """A picture of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def mask_of(frame: Frame) -> np.ndarray:
    """255 where a frame asks for something new."""
    alpha = np.asarray(Image.open(io.BytesIO(frame.picture)).convert("RGBA"))[..., 3]
    return np.where(alpha < 128, 255, 0).astype(np.uint8)


def prompt(view: Inpaint, colour: str) -> None:
    box = view.page.locator("#inpaint-prompt textarea")
    box.press("Control+a")
    box.press_sequentially(colour)


@pytest.fixture
def painted(inpaint: Inpaint, photo: Path) -> Inpaint:
    """A picture with a stroke over its middle, answered in blue."""
    inpaint.load(photo)
    inpaint.stroke((0.4, 0.5), (0.6, 0.5))
    inpaint.wait_result(*MIDDLE, BLUE)
    inpaint.wait_settled()
    return inpaint


# --- picture, mask, prompt ------------------------------------------------------------------------------


def test_a_picture_too_large_for_a_browser_is_made_smaller_and_that_is_said(inpaint: Inpaint, tmp_path: Path) -> None:
    inpaint.load(saved(tmp_path / "wide.png", (5000, 50)))
    expect(inpaint.part(".af-error")).to_contain_text("This picture was made smaller: 4096 × 41")


def test_a_picture_is_shown_as_it_is_and_nothing_is_asked_for(inpaint: Inpaint, echo: Echo, photo: Path) -> None:
    inpaint.load(photo)
    assert (inpaint.result_pixels() == read(photo)).all()
    expect(inpaint.part(".af-todo")).to_have_text("Paint over what to change")
    prompt(inpaint, "red")
    inpaint.page.wait_for_timeout(400)  # nothing to wait for: it is the absence that counts
    assert not echo.frames and inpaint.snapshot() is None


def test_only_what_is_painted_over_changes(painted: Inpaint, echo: Echo, photo: Path) -> None:
    """And it does by the server's own ramp, which ends where the feather says."""
    mask = mask_of(echo.frames[-1])
    assert 0.02 < (mask > 0).mean() < 0.2
    opacity = feathered(mask, 8, "inwards")
    before, after = read(photo).astype(float), painted.result_pixels()
    assert (after[opacity == 0] == before[opacity == 0]).all()
    mixed = before + opacity[..., None] * (np.array(BLUE) - before)
    assert np.abs(after - mixed).max() <= 4


def test_what_is_sent_is_the_picture_with_the_mask_in_its_alpha(painted: Inpaint, echo: Echo, photo: Path) -> None:
    image = Image.open(io.BytesIO(echo.frames[-1].picture))
    assert image.format == "WEBP" and image.size == (512, 384)
    sent, mask = np.asarray(image.convert("RGBA")).astype(int), mask_of(echo.frames[-1])
    assert (sent[mask == 0, 3] == 255).all()
    off = np.abs(sent[..., :3] - read(photo)).mean(-1)
    assert off[mask > 0].mean() < 30  # what is under the mask goes along: a low strength starts from it


def test_another_prompt_makes_it_anew_without_the_picture(painted: Inpaint, echo: Echo, photo: Path) -> None:
    frames, alone = len(echo.frames), len(echo.parameters_only)
    prompt(painted, "red")
    painted.wait_result(*MIDDLE, RED)
    prompt(painted, "lime")
    painted.wait_result(*MIDDLE, LIME)
    assert len(echo.frames) == frames
    assert [sent["prompt"] for sent in echo.parameters_only[alone:]] == ["red", "lime"]
    outside = feathered(mask_of(echo.frames[-1]), 8, "inwards") == 0
    assert (painted.result_pixels()[outside] == read(photo)[outside]).all()


def test_the_newest_text_is_shown_in_the_end_however_fast_it_is_typed(painted: Inpaint, echo: Echo) -> None:
    echo.delay = 0.3  # slower than the typing
    for text in ("r", "re", "red", "re", "r", "", "l", "li", "lime"):
        painted.set(prompt=text)
        painted.page.wait_for_timeout(30)
    painted.wait_result(*MIDDLE, LIME)
    wait_until(painted.page, lambda: painted.snapshot()["recipe"]["prompt"] == "lime", "the recipe of that")


def test_somebody_who_never_pauses_sees_it_change_too(painted: Inpaint, echo: Echo) -> None:
    before = len(echo.parameters_only)
    for i in range(20):
        painted.set(seed=i)
        painted.page.wait_for_timeout(20)
    assert len(echo.parameters_only) > before + 1


def test_the_feather_is_that_of_the_answers_recipe(painted: Inpaint, echo: Echo, photo: Path) -> None:
    painted.set(feather=0)
    mask = mask_of(echo.frames[-1]) > 0
    wait_until(
        painted.page, lambda: (painted.result_pixels()[~mask] == read(photo)[~mask]).all(), "an edge without feather"
    )
    wait_until(painted.page, lambda: near(painted.result_pixels()[mask].mean(0), BLUE, 3), "all of it")


@pytest.mark.parametrize("edge", ["centred", "outwards"])
def test_the_mask_edge_is_the_servers_too(painted: Inpaint, echo: Echo, photo: Path, edge: MaskEdge) -> None:
    painted.set(mask_edge=edge, feather=9)
    opacity = feathered(mask_of(echo.frames[-1]), 9, edge)
    before = read(photo).astype(float)
    mixed = before + opacity[..., None] * (np.array(BLUE) - before)
    wait_until(painted.page, lambda: np.abs(painted.result_pixels() - mixed).max() <= 4, f"an edge {edge}")


# --- the mask -------------------------------------------------------------------------------------------


def test_erasing_all_of_the_mask_brings_the_picture_back(painted: Inpaint, echo: Echo, photo: Path) -> None:
    painted.brush_size(128)
    painted.click(".af-eraser")
    for height in (0.42, 0.5, 0.58):  # more than was painted: smoothing draws a hasty stroke short
        painted.stroke((0.2, height), (0.8, height))
    wait_until(painted.page, lambda: (painted.result_pixels() == read(photo)).all(), "the picture")
    painted.page.wait_for_timeout(400)  # what was cut out while there still was a mask has gone out by then
    frames = len(echo.frames)
    prompt(painted, "red")
    painted.page.wait_for_timeout(400)
    assert len(echo.frames) == frames and (painted.result_pixels() == read(photo)).all()
    assert not painted.part(".af-error").is_visible()


def test_clear_undo_and_redo(painted: Inpaint, photo: Path) -> None:
    painted.click(".af-clear")
    wait_until(painted.page, lambda: (painted.result_pixels() == read(photo)).all(), "the picture")
    painted.click(".af-undo")
    painted.wait_result(*MIDDLE, BLUE)
    painted.click(".af-undo")
    wait_until(painted.page, lambda: (painted.result_pixels() == read(photo)).all(), "the picture once more")
    expect(painted.part(".af-undo")).to_be_disabled()
    painted.click(".af-redo")
    painted.wait_result(*MIDDLE, BLUE)


def test_an_answer_for_a_mask_that_is_gone_is_not_shown(inpaint: Inpaint, echo: Echo, photo: Path) -> None:
    echo.delay = 0.5
    inpaint.load(photo)
    inpaint.stroke((0.4, 0.5), (0.6, 0.5))
    wait_until(inpaint.page, lambda: echo.frames, "a frame")
    inpaint.click(".af-clear")
    wait_until(inpaint.page, lambda: len(echo.answered) + len(echo.dropped) == len(echo.frames), "all answers")
    inpaint.page.wait_for_timeout(300)
    assert (inpaint.result_pixels() == read(photo)).all()


def test_the_mask_is_a_veil_over_the_picture(painted: Inpaint, photo: Path) -> None:
    r, g, b = (read(photo)[192, 256].astype(int) + ImageColor.getrgb("#ff2e93")) / 2
    painted.wait_paper(*MIDDLE, (int(r), int(g), int(b)))
    assert near(painted.paper_pixel(0.1, 0.1), read(photo)[38, 51], 2)


def test_the_tools_answer_to_keys(painted: Inpaint, photo: Path) -> None:
    page = painted.page
    painted.part(".af-paper").hover()
    page.keyboard.press("e")
    expect(painted.part(".af-eraser")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Control+z")
    wait_until(page, lambda: (painted.result_pixels() == read(photo)).all(), "the picture")


# --- pictures of all kinds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "sent"),
    [((1600, 900), (1024, 576)), ((100, 60), (512, 307)), ((90, 900), (90, 900)), ((700, 10), (700, 10))],
)
def test_any_size_and_aspect(inpaint: Inpaint, echo: Echo, tmp_path: Path, size, sent) -> None:
    """It is painted on and sent at a size there is use for; the result has the picture's own."""
    path = saved(tmp_path / "picture.png", size)
    inpaint.load(path)
    inpaint.brush_size(60 if size[1] > 10 else 4)
    inpaint.stroke((0.45, 0.5), (0.55, 0.5))
    inpaint.wait_result(*MIDDLE, BLUE)
    assert Image.open(io.BytesIO(echo.frames[-1].picture)).size == sent
    before, after = read(path), inpaint.result_pixels()
    assert after.shape == before.shape
    changed = (after != before).any(-1)
    reach = np.asarray(Image.fromarray(feathered(mask_of(echo.frames[-1]), 8, "inwards") > 0).resize(size)) > 0
    grown = (
        feathered(reach.astype(np.uint8) * 255, 2 + 2 * size[0] // sent[0], "outwards") > 0
    )  # what scaling up smears
    assert changed.any() and not changed[~grown].any()
    paper, pane = (inpaint.part(part).bounding_box() for part in (".af-paper", ".af-source"))
    assert paper["width"] / paper["height"] == pytest.approx(size[0] / size[1], rel=0.05, abs=0.02)
    assert paper["width"] <= pane["width"] + 1 and paper["height"] <= pane["height"] + 1


def test_a_new_picture_takes_the_mask_of_the_old_one_away(painted: Inpaint, tmp_path: Path) -> None:
    path = saved(tmp_path / "other.png", (400, 400))
    painted.load(path)
    wait_until(painted.page, lambda: painted.result_pixels().shape == (400, 400, 3), "the other picture")
    assert (painted.result_pixels() == read(path)).all()
    painted.stroke((0.2, 0.2), (0.3, 0.2))
    painted.wait_result(0.25, 0.2, BLUE)


def test_see_through_parts_of_a_picture_are_white_paper(inpaint: Inpaint, tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(tmp_path / "empty.png")
    inpaint.load(tmp_path / "empty.png")
    assert (inpaint.result_pixels() == 255).all()


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_can_be_dropped_and_pasted(inpaint: Inpaint, photo: Path, kind: str) -> None:
    inpaint.part(".af-paper").hover()
    inpaint.give(kind, "data:image/png;base64," + base64.b64encode(photo.read_bytes()).decode())
    wait_until(inpaint.page, lambda: inpaint.result_pixels().shape == (384, 512, 3), "the picture")
    assert (inpaint.result_pixels() == read(photo)).all()


@pytest.mark.parametrize("place", [".af-choose", ".af-load", ".af-paper"])
def test_a_picture_can_be_chosen_by_button_and_in_the_empty_pane(inpaint: Inpaint, place: str) -> None:
    with inpaint.page.expect_file_chooser():
        inpaint.part(place).click(position={"x": 20, "y": 20})


def test_a_file_that_is_no_picture_is_one_clear_sentence(inpaint: Inpaint, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    inpaint.part(".af-file").set_input_files(tmp_path / "notes.png")
    inpaint.wait_error(re.compile("^This is not a picture that the browser can open"))


# --- results and connection -----------------------------------------------------------------------------


def test_what_is_kept_is_the_whole_picture_to_the_pixel(painted: Inpaint) -> None:
    snapshot = painted.snapshot()
    kept = np.array(Image.open(io.BytesIO(base64.b64decode(snapshot["image"].partition(",")[2]))).convert("RGB"))
    assert (kept == painted.result_pixels()).all() and snapshot["recipe"]["prompt"] == "blue"
    painted.part(".af-result").hover()
    with painted.page.expect_download() as download:
        painted.click(".af-snapshot")
    assert download.value.suggested_filename.endswith(".png")
    assert (read(Path(download.value.path())) == painted.result_pixels()).all()
    assert read_metadata(Path(download.value.path()).read_bytes()).values["prompt"] == "blue"


def test_a_server_that_was_away_is_sent_the_picture_again(painted: Inpaint, echo: Echo) -> None:
    echo.hang_up()
    frames = len(echo.frames)
    painted.wait_state("open")
    wait_until(painted.page, lambda: len(echo.frames) > frames, "the picture once more")
    prompt(painted, "red")
    painted.wait_result(*MIDDLE, RED)


def test_errors_are_said_and_the_picture_stays(painted: Inpaint, echo: Echo) -> None:
    echo.error = {"code": "bad_parameter", "message": "`steps` cannot be 99."}
    painted.set(steps=99)
    painted.wait_error("`steps` cannot be 99.")
    assert near(painted.result_pixel(*MIDDLE), BLUE)
