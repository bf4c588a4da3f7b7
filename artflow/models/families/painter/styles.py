"""The numbers of styles, read from their files when they are first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from artflow.errors import ArtflowError


class StyleFiles:
    """The styles of some folders, ``<id>.safetensors`` with one tensor ``style`` of ``size`` numbers; earlier folders
    win. Safe from any thread."""

    def __init__(self, folders: Sequence[Path], size: int) -> None:
        self._folders = tuple(folders)
        self.size = size
        self._read: dict[Path, tuple[int, torch.Tensor]] = {}
        self._lock = Lock()

    def get(self, style: str) -> torch.Tensor:
        """The numbers of a style, float32 of shape (``size``,).

        Raises:
            ArtflowError: ``unknown_style``, ``bad_style`` for a file that holds something else.
        """
        if not style.replace("-", "").replace("_", "").isalnum():  # it becomes a file's name
            raise ArtflowError("unknown_style", f"There is no style {style[:60]!r}.")
        path = next((p for f in self._folders if (p := f / f"{style}.safetensors").is_file()), None)
        if path is None:
            raise ArtflowError("unknown_style", f"There is no style {style[:60]!r}.")
        changed = path.stat().st_mtime_ns
        with self._lock:
            known = self._read.get(path)
            if known is None or known[0] != changed:
                known = self._read[path] = changed, self._load(path)
        return known[1]

    def _load(self, path: Path) -> torch.Tensor:
        try:
            value = load_file(path)["style"].float()
        except (OSError, KeyError, SafetensorError) as error:
            raise ArtflowError("bad_style", f"{path.name} is no file of a style: {error}.") from error
        if value.shape != (self.size,) or not value.isfinite().all():
            shape = "x".join(map(str, value.shape))
            raise ArtflowError("bad_style", f"{path.name} holds {shape} numbers; a style is {self.size} finite ones.")
        return value
