"""Uploaded files of every awkward kind become pictures, or one clear sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from artflow.errors import ArtflowError
from artflow.settings import load_settings
from artflow.ui.files import PictureUpload, read_picture, saved_png

LIMITS = load_settings(environ={}).server


def saved(image: Image.Image, path: Path, **options) -> str:
    image.save(path, **options)
    return str(path)


def test_cmyk_16_bit_alpha_palette_and_one_pixel(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 6), (250, 10, 10))
    cmyk = read_picture(saved(red.convert("CMYK"), tmp_path / "cmyk.jpg", quality=100), LIMITS)
    assert np.abs(cmyk[3, 4].astype(int) - (250, 10, 10)).max() < 6
    deep = Image.fromarray(np.full((6, 8), 0x8040, np.uint16))
    assert read_picture(saved(deep, tmp_path / "deep.png"), LIMITS)[0, 0].tolist() == [0x80] * 3
    clear = Image.new("RGBA", (8, 6), (0, 0, 0, 0))
    assert read_picture(saved(clear, tmp_path / "clear.png"), LIMITS)[0, 0].tolist() == [255] * 3
    assert read_picture(saved(red.convert("P"), tmp_path / "p.png"), LIMITS).shape == (6, 8, 3)
    assert read_picture(saved(Image.new("L", (1, 1)), tmp_path / "one.png"), LIMITS).shape == (1, 1, 3)


def test_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a phone held upright
    assert read_picture(saved(Image.new("RGB", (8, 6)), tmp_path / "phone.jpg", exif=exif), LIMITS).shape == (8, 6, 3)


def test_wide_but_small_enough(tmp_path: Path) -> None:
    assert read_picture(saved(Image.new("RGB", (20_000, 3)), tmp_path / "wide.png"), LIMITS).shape == (3, 20_000, 3)


@pytest.mark.parametrize("kind", ["large", "broken", "empty", "text", "gone", "none"])
def test_what_is_no_picture_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "large":
        Image.new("L", (20_000, 4_000)).save(path, "PNG")
    elif kind == "broken":
        Image.effect_noise((64, 64), 50).save(path, "PNG")
        path.write_bytes(path.read_bytes()[:900])
    elif kind in ("empty", "text"):
        path.write_bytes(b"" if kind == "empty" else b"<svg></svg>")
    with pytest.raises(ArtflowError) as raised:
        read_picture(None if kind == "none" else str(path), LIMITS)
    assert raised.value.message.count(".") <= 3 and len(raised.value.message) < 160


def test_an_upload_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"no picture")
    assert PictureUpload().preprocess(ImageData(path=str(path))) == str(path)
    assert PictureUpload().preprocess(None) is None


def test_a_saved_file_goes_after_use() -> None:
    with saved_png(np.zeros((4, 4, 3), np.uint8), {"seed": 1}, "name.png") as path:
        assert Path(path).name == "name.png" and Image.open(path).info["artflow"] == '{"seed": 1}'
    assert not Path(path).exists()
