"""What a page shows, as arrays."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from playwright.sync_api import Page


def picture_of(page: Page, image: str) -> np.ndarray:
    """The file behind an ``<img>``, as RGB."""
    return np.asarray(file_of(page, image).convert("RGB"))


def file_of(page: Page, image: str) -> Image.Image:
    """The file behind an ``<img>``, with its metadata."""
    return Image.open(io.BytesIO(page.request.get(source(page, image)).body()))


def source(page: Page, image: str) -> str:
    """The address of an ``<img>``, once it is there."""
    address = page.locator(image).first.get_attribute("src")
    assert address
    return address


def wait_for_new(page: Page, image: str, old: str | None) -> str:
    """The address of an ``<img>`` once it is another than ``old``."""
    page.wait_for_function(
        "([selector, old]) => { const e = document.querySelector(selector); return e && e.src && e.src !== old }",
        arg=[image, old],
    )
    return source(page, image)
