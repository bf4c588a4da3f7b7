"""Stable Diffusion's safety checker (examined in 2210.04610), which an operator can switch on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from torch.nn.functional import interpolate, normalize
from transformers import CLIPImageProcessorPil

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models import hub
from artflow.models.progress import no_progress
from artflow.models.weight_loading import weight_loading_lock
from artflow.models.weights import refused, require_weights

KIND = "StableDiffusionSafetyChecker"
CARE = 0.01  # by which all thresholds are lower for a picture with a concept that asks for special care


class SafetyChecker:
    """A loaded checker. What computes must be called on the thread that owns the device.

    The flags are those of diffusers' ``StableDiffusionSafetyChecker``, which reads every score from the device by
    itself; here nothing waits for the device until the flags are read.
    """

    def __init__(self, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        """``mean`` and ``std`` of the pictures that the model was trained on, by channel, in values from 0 to 1."""
        self._model = model
        self._side = model.config.vision_config.image_size
        device = model.device
        self._mean, self._std = (torch.tensor(values, device=device).view(1, 3, 1, 1) * 255 for values in (mean, std))
        self._concepts, self._special = (
            (normalize(embeds.float()).T, thresholds.float())
            for embeds, thresholds in (
                (model.concept_embeds, model.concept_embeds_weights),
                (model.special_care_embeds, model.special_care_embeds_weights),
            )
        )

    def flagged(self, pictures: Sequence[Picture]) -> list[bool]:
        """Which of these pictures of one size must not be shown."""
        pixels = torch.from_numpy(np.stack(pictures)).to(self._model.device)
        return self.flagged_pixels(pixels).tolist()

    @torch.inference_mode()
    def flagged_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Which pictures must not be shown: ``uint8`` of shape (n, height, width, 3) to ``bool`` of shape (n,).

        Both are on the model's device. Each picture is seen whole: a wide one is squeezed and not cut.
        """
        values = pixels.permute(0, 3, 1, 2).float()
        values = interpolate(values, (self._side, self._side), mode="bicubic", antialias=True).round_().clamp_(0, 255)
        values = ((values - self._mean) / self._std).to(self._model.dtype)
        embeds = normalize(self._model.visual_projection(self._model.vision_model(values)[1]).float())
        careful = (_scores(embeds, *self._special) > 0).any(1, keepdim=True)
        return (_scores(embeds, *self._concepts, careful * CARE) > 0).any(1)


def _scores(
    embeds: torch.Tensor, concepts: torch.Tensor, thresholds: torch.Tensor, adjustment: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """How far each picture's cosines are above each concept's threshold, in whole thousandths: (n, concepts)."""
    return ((embeds @ concepts - thresholds + adjustment) * 1000).round()


def load_checker(
    source: str | Path,
    *,
    device: str,
    dtype: torch.dtype,
    on_progress: Callable[[str, float | None], None] = no_progress,
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
    except Exception as error:  # a folder of a user's can make the library raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise refused(name, lines[0].rstrip(".")[:300]) from error


def _read(folder: Path, name: str, device: str, dtype: torch.dtype) -> SafetyChecker:
    kinds = json.loads((folder / "config.json").read_text("utf-8")).get("architectures") or ["model"]
    if kinds != [KIND]:
        raise refused(name, f"it is a {kinds[0]}, and the safety check needs a {KIND}")
    require_weights(name, "clip", [path.name for path in folder.iterdir()], None)
    with weight_loading_lock():
        model, found = StableDiffusionSafetyChecker.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    if found["missing_keys"]:  # they would be random, and so the check
        raise refused(name, f"{len(found['missing_keys'])} of its weights are missing")
    model = model.requires_grad_(False).eval().to(device, dtype)
    return SafetyChecker(model, processor.image_mean, processor.image_std)
