"""What people may hand in by mistake, to every tab's endpoint: one clear sentence each, and the app goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

PAINT = {"prompt": "a red apple", "steps": 1, "seed": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files by what is odd about them."""
    folder = tmp_path_factory.mktemp("odd")
    good = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1))
    pictures: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "good": (good, "PNG", {}),
        "cmyk": (good.convert("CMYK"), "JPEG", {}),
        "16-bit": (Image.fromarray(np.full((48, 64), 0x8040, np.uint16)), "PNG", {}),
        "1x1": (Image.new("RGB", (1, 1), "red"), "PNG", {}),
        "huge": (Image.new("L", (20_000, 4_000)), "PNG", {}),
        "animated": (good, "GIF", {"save_all": True, "append_images": [Image.new("RGB", good.size)]}),
        "mask": (Image.new("L", (64, 48), 255), "PNG", {}),
        "no mask": (Image.new("L", (64, 48)), "PNG", {}),
    }
    paths = {}
    for name, (image, kind, options) in pictures.items():
        paths[name] = folder / f"{name}.{kind.lower()}"
        image.save(paths[name], kind, **options)
    paths["broken"] = folder / "broken.png"
    paths["broken"].write_bytes(paths["good"].read_bytes()[:200])
    paths["text"] = folder / "text.png"
    paths["text"].write_text("this is no picture")
    return paths


Call = Callable[[Client, dict[str, Path], str], Any]
CALLS: dict[str, Call] = {
    "inpaint": lambda c, f, n: c.predict(handle_file(f[n]), handle_file(f["mask"]), **PAINT, api_name="/inpaint"),
    "outpaint": lambda c, f, n: c.predict(handle_file(f[n]), right=8, **PAINT, api_name="/outpaint"),
    "upscale": lambda c, f, n: c.predict(handle_file(f[n]), upscaler="lanczos", api_name="/upscale"),
    "filter": lambda c, f, n: c.predict(handle_file(f[n]), [{"filter": "invert"}], api_name="/filter"),
    "interrogate": lambda c, f, n: c.predict(handle_file(f[n]), "fast", "embedded", api_name="/interrogate"),
}
NO_PICTURE = ("huge", "broken", "text")


def sentence(error: pytest.ExceptionInfo[AppError]) -> str:
    words = str(error.value)
    assert len(words) < 250 and "Traceback" not in words, words
    return words


@pytest.mark.parametrize("name", NO_PICTURE)
@pytest.mark.parametrize("tab", CALLS)
def test_what_is_no_picture_is_said(client: Client, files: dict[str, Path], tab: str, name: str) -> None:
    with pytest.raises(AppError) as raised:
        CALLS[tab](client, files, name)
    wanted = "at most 68000000 pixels" if name == "huge" else "picture"
    assert wanted in sentence(raised)


@pytest.mark.parametrize("name", ["cmyk", "16-bit", "animated"])
@pytest.mark.parametrize("tab", CALLS)
def test_rare_pictures_are_pictures(client: Client, files: dict[str, Path], tab: str, name: str) -> None:
    assert CALLS[tab](client, files, name)


@pytest.mark.parametrize("tab", ["outpaint", "upscale", "filter"])
def test_a_single_pixel_is_a_picture(client: Client, files: dict[str, Path], tab: str) -> None:
    assert CALLS[tab](client, files, "1x1")


ASKED: dict[str, tuple[str, Callable[[Client, dict[str, Path]], Any]]] = {
    "no picture to inpaint": (
        "Choose a picture first",
        lambda c, f: c.predict(None, None, **PAINT, api_name="/inpaint"),
    ),
    "no mask": (
        "Choose a mask first",
        lambda c, f: c.predict(handle_file(f["good"]), None, **PAINT, api_name="/inpaint"),
    ),
    "nothing painted": (
        "The mask is empty",
        lambda c, f: c.predict(handle_file(f["good"]), handle_file(f["no mask"]), **PAINT, api_name="/inpaint"),
    ),
    "a mask of another size": (
        "The mask is 64 x 48 and the picture 1 x 1",
        lambda c, f: c.predict(handle_file(f["1x1"]), handle_file(f["mask"]), **PAINT, api_name="/inpaint"),
    ),
    "a negative border": (
        "(-8|left).*(0|minimum)",
        lambda c, f: c.predict(handle_file(f["good"]), left=-8, **PAINT, api_name="/outpaint"),
    ),
    "no border": (
        "Nothing is to be added",
        lambda c, f: c.predict(handle_file(f["good"]), **PAINT, api_name="/outpaint"),
    ),
    "no picture to carry on": (
        "Choose a picture",
        lambda c, f: c.predict(None, right=8, **PAINT, api_name="/outpaint"),
    ),
    "one pixel to describe": ("8 pixels a side", lambda c, f: CALLS["interrogate"](c, f, "1x1")),
    "a long prompt": ("1001 characters", lambda c, f: c.predict(prompt="x" * 1001, api_name="/text")),
    "an odd width": ("nearest are 96 and 104", lambda c, f: c.predict(prompt="x", width=100, api_name="/text")),
    "an unknown model": ("model|list", lambda c, f: c.predict(prompt="x", model="nobody/knows", api_name="/text")),
    "a long prompt to inpaint": (
        "1001 characters",
        lambda c, f: c.predict(handle_file(f["good"]), handle_file(f["mask"]), prompt="x" * 1001, api_name="/inpaint"),
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_cannot_be_asked_is_said(client: Client, files: dict[str, Path], what: str) -> None:
    words, ask = ASKED[what]
    with pytest.raises((AppError, ValueError), match=words) as raised:
        ask(client, files)
    assert len(str(raised.value)) < 300


def test_a_full_mask_is_no_mistake_and_the_app_goes_on(client: Client, files: dict[str, Path]) -> None:
    path, *_ = client.predict(handle_file(files["good"]), handle_file(files["mask"]), **PAINT, api_name="/inpaint")
    assert Image.open(path).size == (64, 48)
