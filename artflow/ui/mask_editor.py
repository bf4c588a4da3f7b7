"""The editor in which a part of a picture is painted over, and what it hands in: a picture and a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

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
from artflow.ui.files import read_with_alpha

TINT = "#ff2e93"  # that of live inpaint's mask: seldom a colour of what is under it


class Painted(NamedTuple):
    """The files of an editor: the picture, and what is painted over it."""

    background: bytes | None
    layers: tuple[bytes, ...] = ()


class MaskEditor(gr.ImageEditor):
    """Gradio's editor with one brush, whose value is `Painted`: files that Gradio has not opened.

    It would raise errors of its own on broken and huge files.
    """

    is_template = True  # shown by the front end of `gr.ImageEditor`

    def __init__(self, label: str, elem_id: str) -> None:
        super().__init__(
            label=label, layers=False, transforms=(), sources=("upload", "clipboard"), elem_id=elem_id,
            brush=gr.Brush(colors=[TINT], color_mode="fixed"),
        )  # fmt: skip

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """What the front end is told: all that `gr.ImageEditor` has; Gradio reads it off a constructor's arguments."""
        return super().get_config(cls or gr.ImageEditor)

    def preprocess(self, payload: EditorData | None) -> Painted | None:  # type: ignore[override]
        """The page sends the files apart and then their id; clients of the API send the files' paths."""
        sent: EditorData | EditorDataBlobs | None = payload
        if payload is not None and payload.id is not None:
            sent = self.blob_storage.pop(payload.id, None)
        if sent is None:
            return None
        layers = (_bytes(layer) for layer in sent.layers)
        return Painted(_bytes(sent.background), tuple(layer for layer in layers if layer))


def _bytes(file: FileData | bytes | None) -> bytes | None:
    # Gradio has checked that a path lies in its upload folder.
    return Path(file.path).read_bytes() if isinstance(file, FileData) else file


def picture_and_mask(painted: Painted | None, limits: ServerSettings) -> tuple[NDArray[np.uint8], Mask]:
    """The picture, upright, of shape (height, width, 3), or 4 where it is see-through; and the mask: 255 where painted.

    A layer is painted where it is not transparent; one without any transparency is a mask itself, painted where white.

    Raises:
        ArtflowError: ``no_picture``, ``bad_picture``, ``picture_too_large``, ``bad_mask``.
    """
    if painted is None or not painted.background:
        raise ArtflowError("no_picture", "There is no picture yet; drop one on the left.")
    picture = read_with_alpha(painted.background, limits)
    mask = np.zeros(picture.shape[:2], np.uint8)
    for data in painted.layers:
        layer = decode(data, max_pixels=limits.max_pixels, keep_alpha=True)
        red, green, blue, alpha = np.moveaxis(layer, -1, 0)
        over = np.maximum(np.maximum(red, green), blue) > 127 if alpha.min() == 255 else alpha > 0
        if over.shape == mask.shape:
            mask[over] = 255
        elif over.any():
            of_layer, of_picture = (Size(int(a.shape[1]), int(a.shape[0])) for a in (layer, picture))
            raise ArtflowError("bad_mask", f"The mask is {of_layer} and the picture {of_picture}; they must be alike.")
    return picture, mask
