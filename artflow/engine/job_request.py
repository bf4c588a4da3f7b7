"""What goes into a job and what comes out of it: plain values, so that the engine may be another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from artflow.engine.image_spec import ImageSpec
from artflow.errors import ArtflowError
from artflow.images import Picture


@dataclass(frozen=True, eq=False)
class JobRequest:
    """The pictures that a loaded model, by its id, is asked for. ``id`` is the asker's choice, no other job's.

    The jobs of one ``person`` share one person's part of the device; a job of nobody known is a person of its own.
    """

    id: str
    model: str
    specs: tuple[ImageSpec, ...]
    person: str = ""


@dataclass(frozen=True)
class GeneratedImage:
    """A finished picture and what made it. One that must not be shown is black, and its recipe has ``hidden``.

    ``profile``: the ICC profile of its colours; None is sRGB, in which models make all of theirs.
    """

    picture: Picture
    recipe: dict[str, Any]
    profile: bytes | None = None


@dataclass(frozen=True)
class JobProgress:
    """A picture of a job has made a step: which picture of how many, and sometimes a preview of it.

    ``doing`` is what a step is called to people, so that they can tell the passes of a longer work.
    """

    picture: int
    pictures: int
    step: int
    steps: int
    preview: Picture | None = None
    doing: str = "Step"


@dataclass(frozen=True)
class ImageFinished:
    """The picture of the spec at ``index`` is finished."""

    index: int
    image: GeneratedImage


@dataclass(frozen=True)
class JobEnded:
    """Nothing more comes of the job: all is made, it was cancelled, or ``error`` says what went wrong."""

    error: ArtflowError | None = None


JobEvent = JobProgress | ImageFinished | JobEnded
OnEvent = Callable[[JobEvent], None]
