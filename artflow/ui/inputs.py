"""What clients send to endpoints, before Gradio takes it over: files, and what cannot be used at all."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.blocks import Blocks
from gradio.exceptions import InvalidPathError
from gradio.route_utils import API_PREFIX, get_root_url
from gradio_client.utils import is_file_obj_with_meta, traverse
from pydantic import ValidationError

T = TypeVar("T")
FILE = f"{API_PREFIX}/file="
PICTURE = "a picture is an uploaded file (gradio_client: `handle_file`), or a URL"


def as_sent(function: Callable[..., Iterator[T]]) -> Callable[..., Iterator[T]]:
    """Decorator of endpoints with ``preprocess=False``: files come as their paths, all else as it was sent.

    The parameters' own models check it, in one sentence. Gradio's controls raise a TypeError on "4", and round 1.5.
    """

    @functools.wraps(function)
    def wrapper(*values: Any) -> Iterator[T]:
        yield from function(*(value["path"] if _is_file(value) else value for value in values))

    return wrapper


def own_files(inputs: list[Any], places: Sequence[str]) -> list[Any]:
    """The inputs with URLs of this server's files turned into paths, which Gradio checks like those of uploads.

    ``places`` are the addresses of this server. Gradio fetches all other URLs, and none of a private network.
    """

    def resolved(file: dict[str, Any]) -> dict[str, Any]:
        path = str(file.get("path") or "")
        if any(path.startswith(place.rstrip("/") + FILE) for place in places):
            return file | {"path": unquote(urlsplit(path).path.split(FILE, 1)[1])}
        return file

    return traverse(inputs, resolved, is_file_obj_with_meta)


def own_places(demo: Blocks, request: Any) -> list[str]:
    """The addresses at which this server gives out files: the request's, as Gradio writes it, and those of launch."""
    launched: tuple[str | None, str | None] = (demo.local_url, demo.share_url)
    places = [place for place in launched if place]
    asked = getattr(request, "request", None)  # a gr.Request holds the one that came
    if asked is not None:
        _, prefix, rest = asked.url.path.partition(API_PREFIX)
        places.append(get_root_url(asked, route_path=prefix + rest, root_path=demo.root_path))
    return places


def _is_file(value: Any) -> bool:
    """Whether a value is what Gradio makes of an uploaded file; one without a path is no picture."""
    return isinstance(value, dict) and {"path", "meta"} <= value.keys()


def refusal(error: Exception) -> gr.Error:
    """What to tell a client whose inputs Gradio cannot take: one sentence, and nothing in the log."""
    if isinstance(error, gr.Error):
        sentence = str(error.message)
    elif isinstance(error, InvalidPathError):
        sentence = f"A picture cannot be that file, which was not uploaded here: {PICTURE}."
    elif isinstance(error, ValidationError):
        sentence = f"A picture cannot be {repr(error.errors()[0]['input'])[:80]}: {PICTURE}."
    else:
        reason = type(error).__name__
        if isinstance(error, ValueError | TypeError) and str(error):  # of the value; others may speak of the machine
            reason = str(error).splitlines()[0][:160].rstrip(".:")
        sentence = f"An input cannot be used: {reason}. {PICTURE[0].upper() + PICTURE[1:]}."
    return gr.Error(sentence, title="That did not work", print_exception=False)
