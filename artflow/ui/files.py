"""Uploaded pictures, and the files that users download."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from gradio.blocks import Block
from gradio.data_classes import ImageData
from numpy.typing import NDArray
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, decode
from artflow.metadata import encode_png
from artflow.settings import ServerSettings

REMEMBERED = 32  # reduced copies kept, of the pictures used last


class PictureUpload(gr.Image):
    """An image component whose value is the path of the uploaded file, unchanged.

    Gradio's `Image` opens the file before the tab's function runs, raises its own errors on broken and huge files, and
    may re-encode the picture without its metadata.
    """

    is_template = True  # shown by the front end of `gr.Image`

    def __init__(self, label: str = "Picture", **kwargs: Any) -> None:
        super().__init__(label=label, type="filepath", sources=["upload", "clipboard"], **kwargs)

    def get_config(self, cls: type[Block] | None = None) -> dict[str, Any]:
        """The config of `gr.Image` for the front end; Gradio derives it from the constructor's arguments."""
        return super().get_config(cls or gr.Image)

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The file's path, which Gradio has checked to be in its upload folder."""
        if payload is None or payload.path is None:
            return None
        return str(payload.path)


def result_place(elem_id: str) -> PictureUpload:
    """An image component for a result; its file keeps the recipe, also when it is sent to another tab."""
    # Not a subclass: Gradio finds a component's front end by its immediate parent.
    return PictureUpload("Result", format="png", interactive=False, buttons=["download", "fullscreen"], elem_id=elem_id)


def read_bytes(path: str | None, what: str = "a picture") -> bytes:
    """The bytes of an uploaded file.

    Raises:
        ArtflowError: ``no_picture`` if there is no path, or its file is gone.
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


def read_with_alpha(data: bytes, limits: ServerSettings) -> NDArray[np.uint8]:
    """A picture's bytes as (height, width, 3), or 4 where it is see-through, upright.

    Raises:
        ArtflowError: ``picture_too_large`` or ``bad_picture``.
    """
    picture = decode(data, max_pixels=limits.max_pixels, keep_alpha=True)
    return picture[..., :3] if picture[..., 3].min() == 255 else picture


class Reduced(NamedTuple):
    """A reduced copy of a picture for previews, and the original's size."""

    picture: Picture
    size: Size  # of the original
    share: float  # the copy's sides over the original's


def reducer(limits: ServerSettings, longest: int, *, keep_alpha: bool = False) -> Callable[[str], Reduced]:
    """A cached function from an upload's path to its copy of at most ``longest`` pixels; raises as `read_picture`.

    With ``keep_alpha`` the copy has 4 channels where the picture is see-through; else it is on white there.
    """

    @lru_cache(maxsize=REMEMBERED)
    def reduced(path: str) -> Reduced:
        picture = read_with_alpha(read_bytes(path), limits) if keep_alpha else read_picture(path, limits)
        image = Image.fromarray(picture)
        size = Size(*image.size)
        image.thumbnail((longest, longest))
        return Reduced(np.asarray(image), size, max(image.size) / max(size))

    return reduced


def size_of(picture: Picture) -> dict[str, int]:
    """A picture's size as its recipe states it."""
    height, width = picture.shape[:2]
    return {"width": width, "height": height}


@contextmanager
def saved_png(picture: Picture, recipe: dict[str, Any], name: str) -> Iterator[str]:
    """A temporary PNG file ``name`` with the recipe; Gradio copies it while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
        path = Path(folder) / name
        path.write_bytes(encode_png(picture, recipe))
        yield str(path)
