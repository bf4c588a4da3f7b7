"""A CLIP model's image and text towers, which embed pictures and texts in one space.

The app ships with a small one (`EMBEDDED`), made for what the embedded model draws. Any other is a `transformers`
folder or Hub id of a ``CLIPModel`` with safetensors weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models import hub
from artflow.models.progress import no_progress
from artflow.models.weight_loading import weight_loading_lock
from artflow.models.weights import refused, require_weights

EMBEDDED = Path(__file__).parent / "pocket" / "image_encoder"

Features = NDArray[np.float32]
"""(n, width), each row of length 1."""


class Towers:
    """The image and the text tower, loaded. What computes must be called on the thread that owns the device."""

    def __init__(self, name: str, model: Any, tokenizer: Any, processor: Any) -> None:
        self.name = name
        self._model, self._tokenizer, self._processor = model, tokenizer, processor
        self._longest: int = model.config.text_config.max_position_embeddings
        self.scale = float(model.logit_scale.exp())
        """The factor on similarities before a softmax (CLIP's ``logit_scale``, learned with the weights)."""
        self.fingerprint = _fingerprint(model)

    @torch.inference_mode()
    def encode_image(self, picture: Picture) -> Features:
        """The embedding of a picture's centre square, of shape (1, width)."""
        # Cut first: the processor scales the shorter side and would make billions of pixels of a long line.
        height, width = picture.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = np.ascontiguousarray(picture[top : top + side, left : left + side])
        pixels = self._processor(square, return_tensors="pt", input_data_format="channels_last").pixel_values
        return self._rows(self._model.get_image_features(pixel_values=pixels.to(self._model.device, self._model.dtype)))

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Features:
        """The embeddings of texts, of shape (n, width); longer texts are cut at the tower's maximum length."""
        # Padded to the longest of these, which is enough: tokens after a text's end do not change its embedding.
        tokens = self._tokenizer(
            list(texts), padding="longest", truncation=True, max_length=self._longest, return_tensors="pt"
        ).to(self._model.device)
        return self._rows(self._model.get_text_features(**tokens))

    def full(self, text: str) -> bool:
        """Whether the text fills the tower's maximum length. Computes nothing on the device."""
        return len(self._tokenizer(text, truncation=True, max_length=self._longest).input_ids) >= self._longest

    @staticmethod
    def _rows(output: Any) -> Features:
        rows = getattr(output, "pooler_output", output).float()
        return (rows / rows.norm(dim=-1, keepdim=True)).cpu().numpy()


class SharedTowers(NamedTuple):
    """Towers by the name of what they are read from: a value, whose methods use those that its process has loaded.

    The methods are `Towers`'s; made by `shared_towers`.
    """

    folder: Path
    name: str
    device: str
    dtype: str
    fingerprint: str
    scale: float

    def encode_image(self, picture: Picture) -> Features:
        """See `Towers`."""
        return self._loaded().encode_image(picture)

    def encode_text(self, texts: Sequence[str]) -> Features:
        """See `Towers`."""
        return self._loaded().encode_text(texts)

    def full(self, text: str) -> bool:
        """See `Towers`."""
        return self._loaded().full(text)

    def _loaded(self) -> Towers:
        return _kept(self.folder, self.name, self.device, self.dtype)


def shared_towers(folder: Path, name: str, device: str, dtype: str) -> SharedTowers:
    """The towers of a folder, loaded into this process unless they are there. ``dtype`` is torch's name of it.

    Raises:
        ArtflowError: ``unsafe_weights``, ``model_load_failed``.
    """
    towers = _kept(folder, name, device, dtype)
    return SharedTowers(folder, name, device, dtype, towers.fingerprint, towers.scale)


@lru_cache(maxsize=2)
def _kept(folder: Path, name: str, device: str, dtype: str) -> Towers:
    return load_towers(folder, name, device=device, dtype=getattr(torch, dtype))


def load_towers(
    source: str | Path,
    name: str,
    *,
    device: str,
    dtype: torch.dtype,
    on_progress: Callable[[str, float | None], None] = no_progress,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Towers:
    """The towers of a folder (a `Path`) or of a Hub id (a `str`), which is downloaded if it is not here yet.

    Raises:
        ArtflowError: ``download_failed``, ``unsafe_weights``, ``model_load_failed``.
    """
    if isinstance(source, str):
        folder = hub.download_clip(source, on_progress=on_progress, endpoint=endpoint, cache_dir=cache_dir)
    else:
        folder = source
    on_progress(f"Loading {name}", None)
    try:
        return _read(folder, name, device, dtype)
    except ArtflowError:
        raise
    except Exception as error:  # a folder of a user's can make the library raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise refused(name, lines[0].rstrip(".")[:300]) from error


def _read(folder: Path, name: str, device: str, dtype: torch.dtype) -> Towers:
    kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    if kind != "clip":
        raise refused(name, f"it is a {kind} model, and interrogation needs a clip one")
    require_weights(name, "clip", [path.name for path in folder.iterdir()], None)
    with weight_loading_lock():
        # float32 first: from_pretrained changes torch's global default dtype while it reads anything else.
        model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    model.requires_grad_(False).eval().to(device, dtype)
    return Towers(name, model, tokenizer, processor)


def _fingerprint(model: Any) -> str:
    """A hash of the text config and the text tower's last weights, which differ between trainings of one model."""
    digest = hashlib.sha256(json.dumps(model.config.text_config.to_dict(), sort_keys=True, default=str).encode())
    for module in (model.text_projection, _inner(model).final_layer_norm):
        digest.update(module.weight.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _inner(model: Any) -> Any:
    """The text transformer; its attribute differs between releases of `transformers`."""
    return getattr(model.text_model, "text_model", model.text_model)
