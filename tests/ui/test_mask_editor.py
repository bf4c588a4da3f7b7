"""What the mask editor hands in, out of the files that the page or a client of the API sends."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from gradio.components.image_editor import EditorData, EditorDataBlobs
from gradio.data_classes import FileData
from PIL import Image

from artflow.errors import ArtflowError
from artflow.settings import load_settings
from artflow.ui.mask_editor import MaskEditor, Painted, picture_and_mask

LIMITS = load_settings(environ={}).server


def png(image: Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


PICTURE = png(Image.new("RGB", (8, 6), (250, 10, 10)))


def layer(size: tuple[int, int] = (8, 6), alpha: int = 255) -> bytes:
    """Transparent but for four pixels."""
    image = Image.new("RGBA", size)
    image.paste((255, 255, 255, alpha), (2, 1, 4, 3))
    return png(image)


def test_painted_where_a_layer_is_not_transparent() -> None:
    picture, mask = picture_and_mask(Painted(PICTURE, (layer(alpha=40),)), LIMITS)
    assert picture.shape == (6, 8, 3) and mask.sum() == 4 * 255 and (mask[1:3, 2:4] == 255).all()


def test_a_layer_without_transparency_is_a_mask_painted_where_white() -> None:
    mask = Image.new("L", (8, 6))
    mask.paste(255, (5, 0, 8, 6))
    assert (picture_and_mask(Painted(PICTURE, (png(mask),)), LIMITS)[1][:, 5:] == 255).all()
    assert not picture_and_mask(Painted(PICTURE, (png(Image.new("L", (8, 6))),)), LIMITS)[1].any()


def test_nothing_painted_is_an_empty_mask() -> None:
    assert not picture_and_mask(Painted(PICTURE), LIMITS)[1].any()


def test_see_through_pictures_keep_their_colours_and_alpha() -> None:
    picture, _ = picture_and_mask(Painted(png(Image.new("RGBA", (8, 6), (1, 2, 3, 9)))), LIMITS)
    assert picture[0, 0].tolist() == [1, 2, 3, 9]


def test_a_phones_picture_is_turned_upright_and_so_is_its_mask_expected() -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = png(Image.new("RGB", (8, 6)), exif=exif)
    assert picture_and_mask(Painted(turned, (layer((6, 8)),)), LIMITS)[0].shape == (8, 6, 3)
    with pytest.raises(ArtflowError, match="The mask is 8 x 6 and the picture 6 x 8"):
        picture_and_mask(Painted(turned, (layer(),)), LIMITS)


@pytest.mark.parametrize(
    ("painted", "code"),
    [
        (None, "no_picture"), (Painted(None, (layer(),)), "no_picture"), (Painted(b"GIF89a"), "bad_picture"),
        (Painted(PICTURE[:40]), "bad_picture"), (Painted(PICTURE, (b"no layer",)), "bad_picture"),
        (Painted(png(Image.new("L", (20_000, 1_000)))), "picture_too_large"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(painted: Painted | None, code: str) -> None:
    with pytest.raises(ArtflowError) as raised:
        picture_and_mask(painted, LIMITS)
    assert raised.value.code == code and len(raised.value.message) < 160


def test_files_come_apart_from_the_page_and_as_paths_from_clients(tmp_path: Path) -> None:
    editor = MaskEditor("Paint", "editor")
    editor.blob_storage["7"] = EditorDataBlobs(background=PICTURE, layers=[None, layer()], composite=None)
    assert editor.preprocess(EditorData(id="7")) == Painted(PICTURE, (layer(),))
    assert editor.preprocess(EditorData(id="7")) is None and not editor.blob_storage, "they are taken once"
    (tmp_path / "a.png").write_bytes(PICTURE)
    sent = EditorData(background=FileData(path=str(tmp_path / "a.png")))
    assert editor.preprocess(sent) == Painted(PICTURE)
    assert editor.preprocess(None) is None


def test_the_page_is_told_all_that_gradios_editor_has() -> None:
    assert np.isin(["brush", "eraser", "layers", "canvas_size"], list(MaskEditor("Paint", "editor").get_config())).all()
