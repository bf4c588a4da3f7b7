"""The LoRA tab in a real browser, with a local Hub: a download with a cut and a resume, files of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image
from playwright.sync_api import Page, expect

from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.app import build
from tests.support.lora_server import FileServer, lora

ANIME = "/Linaqruf/pastel-anime-xl-lora/resolve/main/pastel-anime-xl-latest.safetensors"
OWN = "/me/mine/resolve/main/ink.safetensors"


@pytest.fixture(scope="module")
def hub() -> Iterator[FileServer]:
    files = {ANIME: lora("sdxl", rank=160), OWN: lora("sd15", rank=16)}
    with pytest.MonkeyPatch.context() as patch, FileServer(files, pace=0.02) as running:
        patch.setattr(constants, "ENDPOINT", running.url)
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loras")


@pytest.fixture(scope="module")
def url(hub: FileServer, folder: Path) -> Iterator[str]:
    pipeline = Pipeline(load_settings(environ={"ARTFLOW_MODELS__LORA_DIR": str(folder)}))
    demo = build(pipeline)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()
    pipeline.close()


@pytest.fixture
def lora_page(page: Page, url: str) -> Page:
    page.set_default_timeout(60_000)
    page.goto(url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="LoRA", exact=True).click()
    expect(row(page, "anime.safetensors")).to_be_visible()
    return page


def row(page: Page, file: str):
    return page.locator(f'[data-lora="{file}"]')


def upload(page: Page, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a file").click()
    chooser.value.set_files(path)


def test_a_download_is_watched_paused_cut_and_carried_on(lora_page: Page, hub: FileServer, folder: Path) -> None:
    anime = row(lora_page, "anime.safetensors")
    expect(anime).to_contain_text("Not downloaded")
    hub.faults[ANIME] = ["", "cut"]
    anime.get_by_role("button", name="Download").click()
    expect(anime).to_contain_text(" left")
    anime.get_by_role("button", name="Pause").click()
    expect(anime).to_contain_text("Paused at ")
    lora_page.reload(wait_until="domcontentloaded")
    lora_page.get_by_role("tab", name="LoRA", exact=True).click()
    anime.get_by_role("button", name="Resume").click()
    expect(anime).to_contain_text("In the folder", timeout=60_000)
    assert (folder / "anime.safetensors").read_bytes() == hub.files[ANIME]
    first, *rest = hub.ranges(ANIME)
    assert first == "" and len(rest) == 2 and all(one.startswith("bytes=") for one in rest)
    anime.get_by_role("button", name="Delete").click()
    anime.get_by_role("button", name="Delete").click()
    expect(anime).to_contain_text("Not downloaded")
    assert not (folder / "anime.safetensors").exists()


def test_files_of_ones_own(lora_page: Page, hub: FileServer, folder: Path, tmp_path: Path) -> None:
    page = lora_page
    about = {"modelspec.title": "<b>Bold</b> ${alert(1)}", "modelspec.trigger_phrase": "in bold"}
    (folder / "by-hand.safetensors").write_bytes(lora("sd2", metadata=about))
    Image.fromarray(np.full((90, 120, 3), (200, 30, 30), np.uint8)).save(folder / "by-hand.png")
    by_hand = row(page, "by-hand.safetensors")
    for words in ("<b>Bold</b> ${alert(1)}", "for SD 2", "Say in the prompt: in bold"):
        expect(by_hand).to_contain_text(words)
    page.wait_for_function("document.querySelector('[data-lora=\"by-hand.safetensors\"] img').naturalWidth === 120")
    page.locator("#artflow-lora-address :is(input, textarea)").fill("me/mine/ink.safetensors")
    page.click("#artflow-lora-add")
    expect(row(page, "ink.safetensors")).to_contain_text("In the folder")
    (broken := tmp_path / "broken.safetensors").write_bytes(lora()[:-1])
    upload(page, broken)
    expect(page.get_by_text("it was cut short or changed").first).to_be_visible()
    (whole := tmp_path / "mine.safetensors").write_bytes(lora())
    upload(page, whole)
    expect(row(page, "mine.safetensors")).to_contain_text("In the folder")
    page.locator("#artflow-lora-address :is(input, textarea)").fill("http://10.0.0.1/x.safetensors")
    page.click("#artflow-lora-add")
    expect(page.get_by_text("only https:// is allowed").first).to_be_visible()
