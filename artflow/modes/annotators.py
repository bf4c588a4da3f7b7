"""Maps that networks make: poses, depth and normals, by ``controlnet-aux`` where that is installed."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any

import numpy as np
from PIL import Image

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, resized

log = logging.getLogger(__name__)

DETECTORS = {"openpose": "OpenposeDetector", "depth": "MidasDetector", "normal": "NormalBaeDetector"}
WEIGHTS = "lllyasviel/Annotators"  # pickled, and read by torch as weights alone (its default), which runs no code

_lock = threading.Lock()  # one at a time: each has buffers of its own, and they are large
_loaded: dict[str, Any] = {}


def annotated(picture: Picture, name: str) -> Picture:
    """The map that a detector makes, at the picture's size; its weights are downloaded on first use.

    Raises:
        ArtflowError: ``not_installed`` with what to install; ``download_failed`` where the weights cannot be had.
    """
    with _lock:
        if name not in _loaded:
            _loaded[name] = _detector(name)
        made = _loaded[name](Image.fromarray(picture), output_type="pil")
    found = np.asarray(made.convert("RGB"))
    return resized(found, Size(picture.shape[1], picture.shape[0]))


def _detector(name: str) -> Any:
    try:
        module = importlib.import_module("controlnet_aux")
    except ImportError as error:
        sentence = f"The map {name!r} is made by controlnet-aux: pip install controlnet-aux, or send a finished map"
        raise ArtflowError("not_installed", f"{sentence} with preprocess 'none'.") from error
    try:
        return getattr(module, DETECTORS[name]).from_pretrained(WEIGHTS)
    except Exception as error:  # networks fail in more ways than a list of classes could name
        log.warning("an annotator could not be had", exc_info=error)
        sentence = f"The weights for the map {name!r} ({WEIGHTS}) could not be downloaded or read"
        raise ArtflowError("download_failed", f"{sentence}; a finished map works with preprocess 'none'.") from error
