"""A sketch becomes a picture: the page, a real browser, the embedded model and a small network for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect

from artflow.models import control_catalog
from artflow.models.catalog import load_catalog
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.app import build
from tests.support.live import wait_until
from tests.support.tiny import build_tiny_controlnet

RECIPE = "window.artflow.snapshot('canvas').then(shown => shown && shown.recipe)"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The app, with a network of random weights for scribbles."""
    folder = load_catalog().get("pocket").source.folder
    assert folder is not None
    source = {"folder": str(build_tiny_controlnet(tmp_path / "network", folder))}
    catalog = {
        "families": {"pocket": {"name": "Pocket", "text_width": 128}},
        "kinds": [{"kind": "scribble", "name": "Scribble", "preprocess": "scribble", "networks": {"pocket": source}}],
    }
    (tmp_path / "controls.yaml").write_text(yaml.safe_dump(catalog))
    monkeypatch.setattr(control_catalog, "PRESET", tmp_path / "controls.yaml")
    pipeline = Pipeline(load_settings(environ={}))
    demo = build(pipeline)
    _, address, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    yield address
    demo.close()
    pipeline.close()


def shown(page: Page) -> dict[str, Any]:
    """The recipe of the picture that is shown; empty while there is none."""
    return page.evaluate(RECIPE) or {}


def test_a_sketch_steers_the_canvas_and_its_map_is_shown(page: Page, url: str) -> None:
    page.set_default_timeout(60_000)
    page.goto(url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Canvas", exact=True).click()
    box = page.locator("canvas.af-paper:visible").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 250, box["y"] + 180, steps=5)
    page.mouse.up()
    page.locator("#artflow-canvas-control button").first.click()
    page.get_by_label("Sketch to picture").check()
    wait_until(lambda: shown(page).get("control"), "a steered picture")
    recipe = shown(page)
    assert (recipe["model"], recipe["strength"]) == ("pocket", 1)
    assert (recipe["control"][0]["kind"], recipe["control"][0]["weight"]) == ("scribble", 0.9)
    page.locator("#artflow-canvas-control-preview").click()
    expect(page.locator("#artflow-canvas-control-map-1 img")).to_be_visible(timeout=60_000)
    page.get_by_label("Sketch to picture").uncheck()
    wait_until(lambda: "control" not in shown(page) and shown(page)["strength"] < 1, "a picture of the drawing alone")
