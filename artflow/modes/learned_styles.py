"""Styles that people have: learned from a picture, kept in `LEARNED`, taken out as a file and put back."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from artflow.engine.job_request import JobProgress
from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.job_context import JobContext
from artflow.machine import in_background
from artflow.prompts.styles import FILLERS, LEARNED, styles

if TYPE_CHECKING:
    from artflow.models.families.painter.learn import LearnProgress

LONGEST_NAME = 40
MOST = 100  # styles
MOST_BYTES = 65_536  # of a file; one has some 4,000
SEPARATORS = re.compile(r"[\x00-\x1f,，、;；:：()（）]")  # what ends a part of a prompt, which a name is
LOSES_THE_PERSON = "weave"  # what begins there finds no way out of its squares
LICENCE = "unknown"


def learn(picture: Picture, name: str, folder: Path, context: JobContext, into: Path = LEARNED) -> str:
    """Learn the style of a picture, and keep it under a name; its id. ``folder`` is Painter's.

    Takes minutes, in one thread that lets all others go first.

    Raises:
        ArtflowError: as `check_name` raises; ``bad_style`` for a picture that nothing can be learned from.
        Cancelled: before the next update.
    """
    from safetensors.torch import load_file

    from artflow.engine.threads import with_threads
    from artflow.models.families.painter.learn import known_styles, learn_style, save_style
    from artflow.models.families.painter.network import PainterNetwork
    from artflow.models.families.painter.vgg import load_features

    style = check_name(name, into)
    network, features = PainterNetwork(load_file(folder / "painter.safetensors")), load_features()
    known = known_styles(folder / "styles", without={LOSES_THE_PERSON})

    def progress(now: LearnProgress) -> None:
        context.on_progress(JobProgress(0, 1, now.update, now.updates, doing="Learning, update"))

    image = Image.fromarray(picture[..., :3])

    def learned_on() -> np.ndarray:
        return learn_style(image, features, network, known, on_progress=progress, cancelled=context.cancelled)

    learned = in_background(lambda: with_threads(1, learned_on))
    save_style(into / f"{check_name(name, into)}.safetensors", learned, name.strip(), "learned from a picture", LICENCE)
    return style


def put_back(data: bytes, size: int, into: Path = LEARNED) -> str:
    """Keep the style of a file that `path_of` gave, with ``size`` numbers, under the name in it; its id.

    Raises:
        ArtflowError: ``bad_style`` for another file; as `check_name` raises.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from artflow.models.families.painter.learn import save_style

    if len(data) > MOST_BYTES:
        raise ArtflowError("bad_style", f"A file of {len(data)} bytes is no style; those have under {MOST_BYTES}.")
    try:
        value, about = load(data)["style"].float(), _metadata(data)
    except (KeyError, ValueError, SafetensorError):
        raise ArtflowError("bad_style", "This is no file of a style, as this page gives them out.") from None
    if value.shape != (size,) or not value.isfinite().all():
        shape = "x".join(map(str, value.shape))
        raise ArtflowError("bad_style", f"The file holds {shape} numbers; a style is {size} finite ones.")
    name = about.get("name", "")
    style = check_name(name, into)
    source, licence = about.get("source", "")[:200], about.get("licence", LICENCE)[:80]
    save_style(into / f"{style}.safetensors", value.numpy(), name.strip(), source, licence)
    return style


def check_name(name: str, into: Path = LEARNED) -> str:
    """The id of a new style of this name, which is its file's name, too.

    Raises:
        ArtflowError: ``bad_name``, ``name_taken``, ``too_many_styles``.
    """
    plain = unicodedata.normalize("NFKC", str(name)).strip()
    if (
        not 0 < len(plain) <= LONGEST_NAME
        or SEPARATORS.search(plain)
        or not any(sign.isalpha() for sign in plain)
        or not FILLERS.sub("", plain.lower()).strip()
    ):
        sentence = (
            f"A style cannot be called {str(name)[:60]!r}: 1 to {LONGEST_NAME} characters with a letter, without "
            "commas, colons and brackets, and more than words such as `a` or `style`."
        )
        raise ArtflowError("bad_name", sentence)
    known = styles(into)
    words = "-".join(re.findall(r"[a-z0-9]+", plain.lower()))
    style = words if plain.isascii() else f"style-{hashlib.sha256(plain.lower().encode()).hexdigest()[:10]}"
    if known.find(plain).styles or any(one.id == style for one in known.styles):
        raise ArtflowError("name_taken", f"{plain!r} names a style that there is already; choose another name.")
    if len(own(into)) >= MOST:
        raise ArtflowError("too_many_styles", f"There are {MOST} learned styles already; delete one first.")
    return style


def own(into: Path = LEARNED) -> dict[str, str]:
    """The names of the learned styles by id."""
    here = {path.stem for path in into.glob("*.safetensors")}
    return {style.id: style.names["en"] for style in styles(into).styles if style.id in here}


def path_of(style: str, into: Path = LEARNED) -> Path:
    """The file of a learned style.

    Raises:
        ArtflowError: ``unknown_style``.
    """
    if style not in own(into):
        raise ArtflowError("unknown_style", f"There is no learned style {str(style)[:60]!r}.")
    return into / f"{style}.safetensors"


def _metadata(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, which `load` has read already."""
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length]).get("__metadata__")
    return {str(k): str(v) for k, v in about.items()} if isinstance(about, dict) else {}
