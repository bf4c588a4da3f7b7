"""What the mask editor hands in, and the mask that comes of it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from gradio.components.image_editor import AcceptBlobs, EditorData
from gradio.data_classes import FileData
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.settings import load_settings
from artflow.ui.mask_editor import MaskEditor, painted_mask, shown_in_editor

LIMITS = load_settings(environ={}).server
SIZE = Size(8, 6)


def png(image: Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


def layer(size: tuple[int, int] = SIZE, alpha: int = 255) -> bytes:
    """Transparent but for four pixels."""
    image = Image.new("RGBA", size)
    image.paste((255, 255, 255, alpha), (2, 1, 4, 3))
    return png(image)


def blob(file: bytes, **data: str) -> AcceptBlobs:
    """A message as the page sends it, apart from the event."""
    return AcceptBlobs.model_construct(data={"session_hash": "me"} | data, files=[("blob", file)])


def test_painted_where_a_layer_is_not_transparent() -> None:
    mask = painted_mask((layer(alpha=40),), SIZE, SIZE, LIMITS)
    assert mask.shape == (6, 8) and mask.sum() == 4 * 255 and (mask[1:3, 2:4] == 255).all()


def test_a_layer_without_transparency_is_a_mask_painted_where_white() -> None:
    white = Image.new("L", SIZE)
    white.paste(255, (5, 0, 8, 6))
    assert (painted_mask((png(white),), SIZE, SIZE, LIMITS)[:, 5:] == 255).all()
    assert not painted_mask((png(Image.new("L", SIZE)),), SIZE, SIZE, LIMITS).any()


def test_nothing_painted_is_an_empty_mask() -> None:
    assert not painted_mask((), SIZE, SIZE, LIMITS).any()


def test_what_is_painted_over_a_smaller_copy_covers_the_same_part_of_the_picture() -> None:
    mask = painted_mask((layer(),), Size(80, 60), SIZE, LIMITS)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[12:28, 22:38].all() and not mask[:, :14].any() and not mask[36:].any()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ArtflowError, match="The mask is 8 x 6 and the picture 6 x 8") as raised:
        painted_mask((layer(),), Size(6, 8), Size(6, 8), LIMITS)
    assert raised.value.code == "bad_mask"


def test_a_layer_that_is_no_picture_is_one_sentence() -> None:
    with pytest.raises(ArtflowError, match="no JPEG, PNG, WebP, AVIF"):
        painted_mask((b"no layer",), SIZE, SIZE, LIMITS)


def test_files_come_apart_from_the_page_and_are_taken_once(tmp_path: Path) -> None:
    editor = MaskEditor("Paint", "editor")
    for kind, index in (("background", "null"), ("layer", "1"), ("composite", "null")):
        editor.accept_blobs(blob(layer(), type=kind, index=index, id="7"))
    assert editor.preprocess(EditorData(id="7")) == (layer(),)
    assert editor.preprocess(EditorData(id="7")) == () and editor.preprocess(EditorData(id="8")) == ()
    (tmp_path / "a.png").write_bytes(layer())
    assert editor.preprocess(EditorData(layers=[FileData(path=str(tmp_path / "a.png"))])) == (layer(),)
    assert editor.preprocess(None) == ()


def test_a_picture_comes_into_the_editor_without_strokes() -> None:
    picture = np.zeros((6, 8, 3), np.uint8)
    shown = shown_in_editor(picture)
    assert shown is not None and shown["background"] is picture and shown["layers"] == []
    assert shown_in_editor(None) is None


def test_gradio_can_make_it_anew_where_an_event_leaves_it_as_it_is() -> None:
    """Of a skipped output Gradio makes a component for the session, with these arguments and one of its own."""
    editor = MaskEditor("Paint", "editor")
    assert isinstance(MaskEditor(**editor.constructor_args | {"render": False}), MaskEditor)


def test_the_page_is_told_all_that_gradios_editor_has() -> None:
    assert np.isin(["brush", "eraser", "layers", "canvas_size"], list(MaskEditor("Paint", "editor").get_config())).all()
