"""The mask editor, and the mask made of its strokes.

The editor shows a reduced copy and returns only the strokes: browsers change the colours of transparent pictures and do
not show very large ones. The picture itself stays the uploaded file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np
from gradio.blocks import Block
from gradio.components.image_editor import EditorData, EditorDataBlobs
from gradio.data_classes import FileData
from numpy.typing import NDArray

from artflow.errors import ArtflowError
from artflow.images import Size, decode
from artflow.modes.masks import Mask
from artflow.settings import ServerSettings

TINT = "#ff2e93"  # as in live inpaint; a rare colour in pictures
SHOWN = 1280  # longest side of the copy that is painted over


class MaskEditor(gr.ImageEditor):
    """Gradio's editor with one brush, whose value is the bytes of its layers.

    Gradio's own `preprocess` would open them and raise its own errors on broken and huge files.
    """

    is_template = True  # shown by the front end of `gr.ImageEditor`

    def __init__(self, label: str, elem_id: str) -> None:
        super().__init__(
            label=label, layers=False, transforms=(), sources=(), elem_id=elem_id,
            brush=gr.Brush(colors=[TINT], color_mode="fixed"),
        )  # fmt: skip

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The config of `gr.ImageEditor` for the front end; Gradio derives it from the constructor's arguments."""
        return super().get_config(cls or gr.ImageEditor)

    def preprocess(self, payload: EditorData | None) -> tuple[bytes, ...]:  # type: ignore[override]
        """The layers' bytes. The page uploads the files first and then sends their id."""
        sent: EditorData | EditorDataBlobs | None = payload
        if payload is not None and payload.id is not None:
            sent = self.blob_storage.pop(payload.id, None)
        return tuple(_bytes(layer) for layer in sent.layers if layer) if sent is not None else ()


def shown_in_editor(picture: NDArray[np.uint8] | None) -> dict[str, Any] | None:
    """The value of a `MaskEditor` that shows this picture, or none."""
    return None if picture is None else {"background": picture, "layers": [], "composite": None}


def _bytes(file: FileData | bytes) -> bytes:
    # Gradio has checked that a path lies in its upload folder.
    return Path(file.path).read_bytes() if isinstance(file, FileData) else file


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
