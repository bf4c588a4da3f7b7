"""From a slider of the filters tab to the picture it changes, in real Chromium.

``python -m benchmarks.preview``. A picture of 1024 x 1024 and a stack of filters, of which the first one's first slider
moves; from the slider's event until the new preview is decoded and shown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from artflow.modes.filters import FILTERS
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.app import build
from benchmarks.common import machine, scenes
from tests.support.browser import launch_chromium

SHOWN = (
    ("brightness",), ("saturation",), ("temperature",), ("blur",), ("style",), ("style_of_picture",),
    ("brightness", "style"), ("brightness", "style_of_picture"),
)  # fmt: skip
MOVES = """async () => {
  const slider = document.querySelector("#artflow-filter-layer-0 input[type=range]");
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
  const [low, high] = [Number(slider.min), Number(slider.max)];
  const shown = () => document.querySelector("#artflow-filter-preview img");
  const seconds = [];
  for (let i = 0; i < 25; i++) {
    const old = shown().src;
    set.call(slider, low + (high - low) * (0.3 + 0.02 * ((7 * i) % 25)));
    const begin = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => {
      const look = () => {
        const image = shown();
        if (image && image.src !== old && image.complete && image.naturalWidth) done();
        else setTimeout(look, 1);
      };
      look();
    });
    seconds.push(performance.now() - begin);
    await new Promise((done) => setTimeout(done, 200));
  }
  return seconds;
}"""


def measure(page: Page, url: str, picture: Path, stack: Sequence[str]) -> list[float]:
    """Milliseconds of each move of the first filter's first slider."""
    page.goto(url, wait_until="domcontentloaded")
    page.get_by_role("tab", name="Filters", exact=True).click()
    page.set_input_files("#artflow-filter-picture input[type=file]", picture)
    page.wait_for_selector("#artflow-filter-preview img")
    for index, name in enumerate(stack):
        page.locator("#artflow-filter-add input").click()
        entry = FILTERS[name]
        page.get_by_role("option", name=f"{entry.group}: {entry.title}", exact=True).click()
        page.wait_for_selector(f"#artflow-filter-layer-{index} input[type=range]")
    for sample in page.locator("[id^=artflow-filter-layer-] input[type=file]").all():
        sample.set_input_files(picture)
    page.wait_for_timeout(3000)  # thumbnails of the presets are made beside it
    return page.evaluate(MOVES)


def main() -> None:
    """Print a table."""
    pipeline = Pipeline(load_settings(environ={}))
    demo = build(pipeline)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True)
    print(f"{machine()}\n\n| filters | median | p90 |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        picture = Path(folder) / "picture.jpg"
        Image.fromarray(scenes(1, 1024)[0]).save(picture, quality=92)
        browser = launch_chromium(playwright)
        for stack in SHOWN:
            times = measure(browser.new_page(), url, picture, stack)
            name = ", then ".join(stack)
            print(f"| {name} | {median(times):.0f} ms | {quantiles(times, n=10)[-1]:.0f} ms |", flush=True)
        browser.close()
    demo.close()
    pipeline.close()


if __name__ == "__main__":
    main()
