"""What is sent to the mask editor apart from any event: bounded, and gone with the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.components.image_editor import EditorData
from gradio.data_classes import FileData

from artflow.ui import mask_editor
from artflow.ui.mask_editor import MaskEditor
from tests.hostile.conftest import App, Page
from tests.support.live import wait_until


@pytest.fixture
def editor(app: App) -> MaskEditor:
    return next(block for block in app.demo.blocks.values() if isinstance(block, MaskEditor))


def send(page: Page, editor: MaskEditor, file: bytes = b"layer", **changed: str) -> httpx.Response:
    fields = {"component_id": str(editor._id), "session_hash": page.session, "fn_name": "accept_blobs"}
    return page.http.post(
        "/component_server/", data=fields | {"type": "layer", "index": "0", "id": "1"} | changed,
        files={"file": ("blob", file)},
    )  # fmt: skip


@pytest.mark.parametrize("index", ["4000000000", "-1", "4", "1e3", "", "null", "x"])
def test_an_index_is_one_of_a_few(app: App, editor: MaskEditor, grown: Callable[[], float], index: str) -> None:
    with app.page() as page:
        assert send(page, editor, index=index).status_code == 400
    assert grown() < 50


def test_a_layer_and_its_name_have_a_size(app: App, editor: MaskEditor) -> None:
    with app.page() as page:
        assert send(page, editor, bytes(mask_editor.MOST_BYTES + 1)).status_code == 413
        assert send(page, editor, id="x" * 65).status_code == 400


@pytest.mark.parametrize("body", [{}, [], "text", {"type": "layer", "index": 0, "id": "1"}, None])
def test_what_is_no_such_message_is_refused(app: App, editor: MaskEditor, body: Any) -> None:
    with app.page() as page:
        message = {"data": body, "component_id": editor._id, "session_hash": page.session, "fn_name": "accept_blobs"}
        assert page.http.post("/component_server/", json=message).status_code == 400


def test_many_ids_do_not_fill_the_memory(app: App, editor: MaskEditor, grown: Callable[[], float]) -> None:
    """Of the layers that nobody takes only the newest are kept, in a few megabytes for all pages."""
    layer = bytes(3_000_000)
    with app.page() as page:
        for number in range(60):
            assert send(page, editor, layer, id=str(number)).status_code == 200
        assert sum(strokes.size for strokes in editor._strokes.values()) <= mask_editor.KEPT_BYTES
        assert "59" in editor._strokes and "0" not in editor._strokes
        assert grown() < 120
    wait_until(lambda: not editor._strokes, "the page's layers to go")


def test_many_empty_layers_do_not_fill_the_list() -> None:
    editor = MaskEditor("Mask", "mask")
    for number in range(3 * mask_editor.KEPT):
        message = {"type": "layer", "index": 0, "id": str(number), "session_hash": "a page"}
        editor.accept_blobs(SimpleNamespace(data=message, files=[("blob", b"")]))  # type: ignore[arg-type]
    assert len(editor._strokes) == mask_editor.KEPT


def test_a_mask_has_a_few_layers_however_they_are_sent(tmp_path: Path) -> None:
    """One uploaded file, named a thousand times, would be read as often."""
    editor, file = MaskEditor("Mask", "mask"), tmp_path / "layer.png"
    file.write_bytes(b"layer")
    layers = [FileData(path=str(file))] * mask_editor.MOST_LAYERS
    assert editor.preprocess(EditorData(layers=layers)) == (b"layer",) * mask_editor.MOST_LAYERS
    with pytest.raises(gr.Error, match="at most 4 layers; these are 5"):
        editor.preprocess(EditorData(layers=[*layers, layers[0]]))
