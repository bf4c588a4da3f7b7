"""A disk cache of text features: one file for a model and a list of terms."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from huggingface_hub import constants
from safetensors.numpy import load_file, save

from artflow.models.clip import Features, SharedTowers, Towers

log = logging.getLogger(__name__)


def default_folder() -> Path:
    """The default cache folder, beside the Hub's cache (``HF_HOME`` moves both)."""
    return Path(constants.HF_HOME) / "artflow" / "terms"


def feature_file(folder: Path, towers: Towers | SharedTowers, group: str, terms: Sequence[str]) -> Path:
    """The cache file; its name has a hash of the model's name and weights and of the terms."""
    key = hashlib.sha256("\n".join([towers.name, towers.fingerprint, *terms]).encode()).hexdigest()[:20]
    name = re.sub(r"[^A-Za-z0-9-]+", "-", f"{towers.name}-{group}").strip("-")[:80]
    return folder / f"{name}-{key}.safetensors"


def features(
    folder: Path | None,
    towers: Towers | SharedTowers,
    group: str,
    terms: Sequence[str],
    compute: Callable[[], Features],
) -> Features:
    """The text features of ``terms``, from the cache or by ``compute``; ``folder=None`` always computes.

    A broken file is replaced. If the folder is not writable, features are recomputed each time, with a warning.
    """
    if folder is None:
        return compute()
    path = feature_file(folder, towers, group, terms)
    if path.is_file():
        try:
            rows = load_file(path)["features"].astype(np.float32)
            if rows.ndim == 2 and len(rows) == len(terms) and np.isfinite(rows).all():
                return rows / np.linalg.norm(rows, axis=1, keepdims=True)
            log.warning("%s is not what it should be and is made anew", path)
        except Exception as error:  # noqa: BLE001 - broken files make the library raise anything
            log.warning("%s is broken and is made anew: %s", path, error)
    rows = compute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written under a temporary name and renamed, so that no reader sees half a file.
        handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
        os.close(handle)
        unfinished = Path(name)
        try:
            unfinished.write_bytes(save({"features": rows.astype(np.float16)}))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        log.warning("text features could not be kept in %s: %s", folder, error)
    return rows
