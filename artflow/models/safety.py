"""Whether a picture may be shown: Stable Diffusion's safety checker (2210.04610 looks into it), for who wants one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from artflow.errors import ArtflowError
from artflow.images import Picture, Size, resized
from artflow.models import hub
from artflow.models.progress import quiet
from artflow.models.reading import reading
from artflow.models.weights import refused, require_weights

KIND = "StableDiffusionSafetyChecker"


class SafetyChecker:
    """Loaded. What computes must be called on the thread that owns the device."""

    def __init__(self, model: Any, processor: Any) -> None:
        self._model, self._processor = model, processor
        self._side = model.config.vision_config.image_size

    @torch.inference_mode()
    def flagged(self, pictures: Sequence[Picture]) -> list[bool]:
        """Which of these must not be shown. Each is seen whole: a wide one is squeezed and not cut."""
        square = [resized(picture, Size(self._side, self._side)) for picture in pictures]
        pixels = self._processor(square, return_tensors="pt", input_data_format="channels_last").pixel_values
        # It blackens the flagged of ``images`` itself, which is left to those who know what the pictures are.
        images = [np.empty(0)] * len(square)
        return self._model(pixels.to(self._model.device, self._model.dtype), images=images)[1]


def load_checker(
    source: str | Path,
    *,
    device: str,
    dtype: torch.dtype,
    on_progress: Callable[[str, float | None], None] = quiet,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> SafetyChecker:
    """The checker of a folder (a `Path`) or of a Hub id (a `str`), which is downloaded if it is not here yet.

    Raises:
        ArtflowError: ``download_failed``, ``unsafe_weights``, ``model_load_failed``.
    """
    name = str(source)
    if isinstance(source, str):
        folder = hub.download_clip(
            source, tokenizer=False, on_progress=on_progress, endpoint=endpoint, cache_dir=cache_dir
        )
    else:
        folder = source
    on_progress("Loading the safety check", None)
    try:
        return _read(folder, name, device, dtype)
    except ArtflowError:
        raise
    except Exception as error:  # whatever a library says about a folder that people brought
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise refused(name, lines[0].rstrip(".")[:300]) from error


def _read(folder: Path, name: str, device: str, dtype: torch.dtype) -> SafetyChecker:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessorPil

    kinds = json.loads((folder / "config.json").read_text("utf-8")).get("architectures") or ["model"]
    if kinds != [KIND]:
        raise refused(name, f"it is a {kinds[0]}, and the safety check needs a {KIND}")
    require_weights(name, "clip", [path.name for path in folder.iterdir()], None)
    with reading():
        model, found = StableDiffusionSafetyChecker.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    if found["missing_keys"]:  # they would be random, and the check one in name only
        raise refused(name, f"{len(found['missing_keys'])} of its weights are missing")
    # Its warning says that a black image is returned; people are told here, by those who hide it.
    logging.getLogger(StableDiffusionSafetyChecker.__module__).setLevel(logging.ERROR)
    return SafetyChecker(model.requires_grad_(False).eval().to(device, dtype), processor)
