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
from gradio_client.utils import is_file_obj_with_meta
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationInfo, model_validator

from artflow.errors import ArtflowError
from artflow.images import Photo, Picture, Size, as_png, decode, decode_photo, format_of, size_of, to_srgb
from artflow.metadata import encode_png
from artflow.settings import ServerSettings

REMEMBERED = 32  # reduced copies kept, of the pictures used last
UNSHOWN = ("HEIF", "TIFF")  # formats that most browsers do not show


class UploadedPicture(ImageData):
    """What clients send of a picture: marked as a file, since Gradio checks the path of nothing else."""

    model_config = ConfigDict(title="ImageData")

    @model_validator(mode="before")
    @classmethod
    def _marked(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context and info.context.get("validate_meta") and not is_file_obj_with_meta(value):
            raise ValueError("it is not marked as a file by its meta")
        return value


class PictureUpload(gr.Image):
    """An image component whose value is the path of the uploaded file, unchanged.

    Gradio's `Image` opens the file before the tab's function runs, raises its own errors on broken and huge files, and
    may re-encode the picture without its metadata.
    """

    is_template = True  # shown by the front end of `gr.Image`
    data_model = UploadedPicture

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


def picture_input(limits: ServerSettings, label: str = "Picture", **kwargs: Any) -> PictureUpload:
    """An image component for a picture that people bring.

    A file that browsers do not show is replaced by a PNG copy of it, in its own colours, so that people see it.
    """
    place = PictureUpload(label, **kwargs)

    def as_shown(path: str | None) -> Iterator[Any]:
        try:
            photo = None if shown_by_browsers(path) else read_photo(path, limits)
        except ArtflowError:  # whoever works with the picture says it
            photo = None
        if photo is None:
            yield gr.skip()
            return
        with tempfile.TemporaryDirectory(prefix="artflow-") as folder:
            copy = Path(folder) / f"{Path(path or '').stem}.png"
            copy.write_bytes(as_png(*photo))
            yield str(copy)

    place.upload(as_shown, place, place, show_progress="hidden", api_visibility="private", concurrency_limit=2)
    return place


def shown_by_browsers(path: str | None) -> bool:
    """Whether browsers show this file, if it is a picture at all.

    Raises:
        ArtflowError: ``no_picture`` or ``bad_picture``.
    """
    return format_of(read_bytes(path)) not in UNSHOWN


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


def read_picture(path: str | None, limits: ServerSettings, longest: int | None = None) -> Picture:
    """An uploaded picture in sRGB, upright, on white where it was transparent.

    ``longest``: a copy of at most so many pixels a side will do.

    Raises:
        ArtflowError: ``no_picture``, ``picture_too_large`` or ``bad_picture``.
    """
    return decode(read_bytes(path), max_pixels=limits.max_pixels, longest=longest)


def read_photo(path: str | None, limits: ServerSettings) -> Photo:
    """An uploaded picture in its own colours, with alpha where it is see-through, upright.

    Raises:
        ArtflowError: ``no_picture``, ``picture_too_large`` or ``bad_picture``.
    """
    return decode_photo(read_bytes(path), max_pixels=limits.max_pixels)


def read_with_alpha(data: bytes, limits: ServerSettings) -> NDArray[np.uint8]:
    """A picture's bytes in sRGB, as (height, width, 3), or 4 where it is see-through, upright.

    Raises:
        ArtflowError: ``picture_too_large`` or ``bad_picture``.
    """
    return to_srgb(*decode_photo(data, max_pixels=limits.max_pixels))


class Reduced(NamedTuple):
    """A reduced copy of a picture for previews, and the original's size."""

    picture: Picture
    size: Size  # of the original
    share: float  # the copy's sides over the original's

    def told(self, sentence: str) -> str:
        """A sentence on the copy, with ``{copy}`` and ``{size}`` filled in; empty where it is the picture itself."""
        copy = Size(self.picture.shape[1], self.picture.shape[0])
        return "" if copy == self.size else sentence.format(copy=copy, size=self.size)


def reducer(limits: ServerSettings, longest: int, *, keep_alpha: bool = False) -> Callable[[str | None], Reduced]:
    """A cached function from an upload's path to its copy of at most ``longest`` pixels; raises as `read_picture`.

    With ``keep_alpha`` the copy has 4 channels where the picture is see-through; else it is on white there.
    """

    @lru_cache(maxsize=REMEMBERED)
    def reduced(path: str | None) -> Reduced:
        data, most = read_bytes(path), limits.max_pixels
        picture = decode(data, max_pixels=most, longest=longest, keep_alpha=keep_alpha)
        if keep_alpha and picture[..., 3].min() == 255:
            picture = picture[..., :3]
        size = size_of(data, max_pixels=most)
        return Reduced(picture, size, max(picture.shape) / max(size))

    return reduced


def recipe_size(picture: Picture) -> dict[str, int]:
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
