"""Pictures that people hand in to a tab, and files that they take away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.data_classes import ImageData

from artflow.errors import ArtflowError
from artflow.images import Picture, decode, encode_png
from artflow.settings import ServerSettings


class PictureUpload(gr.Image):
    """A place for a picture, whose value is the path of the file as it was sent: Gradio has not touched its pixels.

    Gradio's own `Image` opens the file before the tab's function runs. It then raises its own errors on broken and huge
    files, and may write the picture anew without its metadata.
    """

    is_template = True  # shown by the front end of `gr.Image`

    def __init__(self, label: str = "Picture", **kwargs: Any) -> None:
        super().__init__(label=label, type="filepath", sources=["upload", "clipboard"], **kwargs)

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """What the front end is told: all that `gr.Image` has. Gradio reads it off the constructor's arguments."""
        return super().get_config(cls or gr.Image)

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The path in Gradio's upload folder; Gradio has checked that it lies there."""
        if payload is None or payload.path is None:
            return None
        return str(payload.path)


def read_bytes(path: str | None, what: str = "a picture") -> bytes:
    """The bytes of an uploaded file.

    Raises:
        ArtflowError: ``no_picture`` if there is none, or none any more.
    """
    if not path:
        raise ArtflowError("no_picture", f"Choose {what} first.")
    try:
        return Path(path).read_bytes()
    except OSError:
        raise ArtflowError("no_picture", "The picture was uploaded too long ago; please choose it again.") from None


def read_picture(path: str | None, limits: ServerSettings) -> Picture:
    """An uploaded picture, upright, on white where it was transparent.

    Raises:
        ArtflowError: ``no_picture``, ``picture_too_large`` or ``bad_picture``.
    """
    return decode(read_bytes(path), max_pixels=limits.max_pixels)


@contextmanager
def saved_png(picture: Picture, recipe: dict[str, Any], name: str) -> Iterator[str]:
    """A PNG file ``name`` that carries the recipe. Gradio copies what is yielded, so it may go after."""
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
        path = Path(folder) / name
        path.write_bytes(encode_png(picture, recipe))
        yield str(path)
