"""A real browser shows the files of the corpus as `decode` reads them: preview and result must not differ."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from playwright.sync_api import Page

from artflow.images import decode
from tests.corpus.pictures import CASES, JPEG

SHOWN = """async (url) => {
  const image = new Image();
  image.src = url;
  try { await image.decode(); } catch { return null; }
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { width: canvas.width, height: canvas.height, data: Array.from(data) };
}"""


@pytest.mark.parametrize("name", CASES)
def test_a_browser_shows_what_is_read(page: Page, name: str) -> None:
    case = CASES[name]()
    kind = case.media_type or "image/unknown"
    shown = page.evaluate(SHOWN, f"data:{kind};base64,{base64.b64encode(case.data).decode()}")
    assert (shown is not None) == bool(case.media_type), "whether a browser shows it"
    if shown is None:
        return
    seen = np.array(shown["data"], np.uint8).reshape(shown["height"], shown["width"], 4)[..., :3]
    read = decode(case.data, max_pixels=10_000)
    assert seen.shape == read.shape
    difference = np.abs(seen.astype(int) - read)
    if name.startswith("cut"):  # what is missing of a picture is up to the program
        difference = difference[:24]
    worst = 8 if case.media_type == JPEG else 4  # programs scale up the colours of a JPEG each in their way
    assert difference.max() <= worst, (seen[4, 4], read[4, 4], seen[-4, 4], read[-4, 4])
