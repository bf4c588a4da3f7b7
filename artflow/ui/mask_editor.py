"""The mask editor, and the mask made of its strokes.

The editor shows a reduced copy and returns only the strokes: browsers change the colours of transparent pictures and do
not show very large ones. The picture itself stays the uploaded file.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from fastapi import HTTPException
from gradio.blocks import Block
from gradio.components.base import server
from gradio.components.image_editor import AcceptBlobs, EditorData
from gradio.data_classes import FileData
from numpy.typing import NDArray

from artflow.errors import ArtflowError
from artflow.images import Size, decode
from artflow.modes.masks import Mask
from artflow.settings import ServerSettings

TINT = "#ff2e93"  # as in live inpaint; a rare colour in pictures
SHOWN = 1280  # longest side of the copy that is painted over
MOST_LAYERS = 4  # that a page may send; it has one or two
MOST_BYTES = 4_000_000  # of a layer's PNG; strokes over the copy have a tenth of it
KEPT, KEPT_BYTES, KEPT_SECONDS = 64, 32_000_000, 60.0  # strokes of all pages that wait for the event that takes them


@dataclass
class _Strokes:
    """What a page has sent ahead of an event."""

    session: str
    came: float  # monotonic seconds
    layers: dict[int, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.layers.values()))


class MaskEditor(gr.ImageEditor):
    """Gradio's editor with one brush, whose value is the bytes of its layers.

    Gradio's own `preprocess` would open them and raise its own errors on broken and huge files.
    """

    is_template = True  # shown by the front end of `gr.ImageEditor`

    def __init__(self, label: str, elem_id: str, **kwargs: Any) -> None:
        super().__init__(
            label=label, layers=False, transforms=(), sources=(), elem_id=elem_id,
            brush=gr.Brush(colors=[TINT], color_mode="fixed"), **kwargs,
        )  # fmt: skip
        self._strokes: dict[str, _Strokes] = {}  # by the event's id, the oldest first
        self._lock = threading.Lock()

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The config of `gr.ImageEditor` for the front end; Gradio derives it from the constructor's arguments."""
        return super().get_config(cls or gr.ImageEditor)

    def preprocess(self, payload: EditorData | None) -> tuple[bytes, ...]:  # type: ignore[override]
        """The layers' bytes. The page uploads the files first and then sends their id."""
        if payload is None:
            return ()
        if payload.id is None:
            # Gradio has checked that a path lies in its upload folder.
            files = [layer for layer in payload.layers if isinstance(layer, FileData)]
            if len(files) > MOST_LAYERS:
                raise gr.Error(
                    f"A mask has at most {MOST_LAYERS} layers; these are {len(files)}.", print_exception=False
                )
            return tuple(Path(layer.path).read_bytes() for layer in files)
        with self._lock:
            sent = self._strokes.pop(payload.id, None)
        return tuple(data for _, data in sorted(sent.layers.items())) if sent is not None else ()

    @server
    def accept_blobs(self, data: AcceptBlobs) -> None:
        """Keep a layer for the event that will name its id. A page sends the picture beneath, too, which is dropped.

        Raises:
            HTTPException: 400 for what is no such message, 413 for a layer that is too large.
        """
        sent = getattr(data, "data", None)
        if not isinstance(sent, dict) or not data.files or not {"type", "index", "id"} <= sent.keys():
            raise HTTPException(400, "A layer comes as a file with a type, an index and an id.")
        if sent["type"] != "layer":
            return
        index, name, layer = str(sent["index"]), str(sent["id"]), data.files[0][1]
        if index not in map(str, range(MOST_LAYERS)) or len(name) > 64:
            raise HTTPException(400, f"Layer {index[:20]!r} of {name[:20]!r} cannot be: from 0 to {MOST_LAYERS - 1}.")
        if len(layer) > MOST_BYTES:
            raise HTTPException(413, f"A layer may have {MOST_BYTES} bytes; this one has {len(layer)}.")
        now = time.monotonic()
        with self._lock:
            strokes = self._strokes.pop(name, None) or _Strokes(str(sent.get("session_hash", "")), now)
            strokes.layers[int(index)] = layer
            self._strokes[name] = strokes
            size = sum(one.size for one in self._strokes.values())
            for other, kept in list(self._strokes.items()):
                too_many = size > KEPT_BYTES or len(self._strokes) > KEPT
                if (too_many or now - kept.came > KEPT_SECONDS) and other != name:
                    size -= kept.size
                    del self._strokes[other]

    def forget(self, request: gr.Request) -> None:
        """Drop what a page has sent that is gone."""
        with self._lock:
            gone = request.session_hash
            self._strokes = {name: kept for name, kept in self._strokes.items() if kept.session != gone}


def shown_in_editor(picture: NDArray[np.uint8] | None, painted: Mask | None = None) -> dict[str, Any] | None:
    """The value of a `MaskEditor` that shows this picture, or none, with a part of it painted over already."""
    if picture is None:
        return None
    layers = []
    if painted is not None:
        colour = [int(TINT[i : i + 2], 16) for i in (1, 3, 5)]
        layers = [np.where(painted[..., None] > 0, np.array([*colour, 255], np.uint8), np.uint8(0))]
    return {"background": picture, "layers": layers, "composite": None}


def painted_mask(layers: tuple[bytes, ...], size: Size, shown: Size, limits: ServerSettings) -> Mask:
    """The mask (255 where painted) of a picture of ``size``, from layers over its copy of size ``shown``.

    A layer is painted where it is not transparent; a layer without transparency is a mask itself, painted where white.

    Raises:
        ArtflowError: ``bad_picture``, ``picture_too_large``, ``bad_mask``.
    """
    mask = np.zeros((shown.height, shown.width), np.uint8)
    for data in layers:
        layer = decode(data, max_pixels=limits.max_pixels, keep_alpha=True)
        red, green, blue, alpha = np.moveaxis(layer, -1, 0)
        over = np.maximum(np.maximum(red, green), blue) > 127 if alpha.min() == 255 else alpha > 0
        if over.shape == mask.shape:
            mask[over] = 255
        elif over.any():
            of_layer = Size(int(layer.shape[1]), int(layer.shape[0]))
            raise ArtflowError("bad_mask", f"The mask is {of_layer} and the picture {shown}; they must be alike.")
    if shown == size:
        return mask
    enlarged = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
    return np.where(enlarged > 127, 255, 0).astype(np.uint8)
