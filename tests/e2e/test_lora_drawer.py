"""The drawer of LoRAs in real Chromium: chosen from those that are there, and moved while the camera runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.app import build
from tests.test_live_loras import write_pocket_lora

LONG = 120_000
WEIGHT = """async ([mode, weight]) =>
  (await window.artflow.snapshot(mode))?.recipe?.loras?.some((one) => one.name === "wild" && one.weight === weight)"""


@pytest.fixture(scope="module")
def app_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app with a LoRA for its drawing model."""
    folder = tmp_path_factory.mktemp("loras")
    write_pocket_lora(folder / "wild.safetensors")
    pipeline = Pipeline(load_settings(environ={"ARTFLOW_MODELS__LORA_DIR": str(folder)}))
    demo = build(pipeline)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()
    pipeline.close()


def choose(page: Page, place: str) -> Any:
    """Open the drawer of a tab and take the LoRA; the field of its weight."""
    drawer = page.locator(f"#artflow-{place}-lora")
    drawer.get_by_role("button", name="LoRA").first.click()
    field = page.locator(f"#artflow-{place}-lora-choice input")
    field.click()
    page.get_by_role("option", name="wild").click()
    weight = page.locator(f"#artflow-{place}-lora-0 input[type=number]")
    expect(weight).to_have_value("0.8", timeout=LONG)
    return weight


def test_a_weight_is_moved_while_the_camera_runs(page: Page, app_url: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(app_url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Webcam", exact=True).click()
    page.locator("#artflow-realtime-prompt textarea").fill("a cat")
    page.locator(".af-webcam .af-start").click()
    weight = choose(page, "realtime")
    page.wait_for_function(WEIGHT, arg=["realtime", 0.8], timeout=LONG)
    weight.fill("-1.5")
    weight.blur()
    page.wait_for_function(WEIGHT, arg=["realtime", -1.5], timeout=LONG)


def test_the_text_tab_draws_with_it(page: Page, app_url: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(app_url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Text", exact=True).click()
    choose(page, "text")
    page.locator("#artflow-generate").click()
    expect(page.locator("#artflow-text-gallery img").first).to_be_visible(timeout=LONG)
    expect(page.locator("#artflow-text-lora-value textarea")).to_have_value('{"wild": 0.8}')
