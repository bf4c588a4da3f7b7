"""What lies in the folder of LoRAs: files that were downloaded, uploaded, or put there by hand."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from artflow.errors import ArtflowError
from artflow.loras.header import check_lora
from artflow.loras.presets import LoraPreset, Presets
from artflow.models.weights import is_unsafe, unsafe

SUFFIX = ".safetensors"
PREVIEWS = (".preview.png", ".png", ".jpg", ".jpeg", ".webp")  # as the tools of the field name them, by the stem
PART = ".part"
RECORD = ".part.json"
NAME = re.compile(r"[^\W_][\w.+ ()-]{0,99}")
NAMES = "a letter or digit first, then also _ . + - ( ) and spaces, 100 in all"
MOST = 2_000  # files that are listed


@dataclass(frozen=True)
class LoraFile:
    """One file of the folder. ``file`` is its path below the folder, ``name`` what prompts and settings call it.

    ``problem`` is a sentence where it cannot be used; then nothing is known but its ``size`` in bytes.
    """

    file: str
    name: str
    title: str
    size: int
    group: str = "other"
    base: str = ""
    trigger: str = ""
    tags: tuple[str, ...] = ()
    preset: str = ""
    preview: Path | None = None
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Of the preview just whether there is one: its path is nobody's business."""
        return asdict(self) | {"preview": self.preview is not None}


class Library:
    """The folder, read again each time it is asked for; headers are remembered until their file changes."""

    def __init__(self, folder: Path, presets: Presets) -> None:
        self.folder = folder
        self.presets = presets

    def files(self) -> list[LoraFile]:
        """All files, by name. Those that cannot be used are among them and say why; hidden ones are not."""
        found = []
        for path in sorted(self.folder.rglob("*"))[: 4 * MOST]:
            inside = path.relative_to(self.folder)
            if any(part.startswith(".") for part in inside.parts):
                continue
            if path.suffix.lower() == SUFFIX or is_unsafe(path.name):
                found.append(self._file(path, inside))
        return found[:MOST]

    def has(self, preset: LoraPreset) -> bool:
        """Whether the file of a preset is there."""
        return (self.folder / preset.filename).is_file()

    def get(self, file: str) -> LoraFile:
        """The file of this path, which may come from a user: only those that `files` lists are found.

        Raises:
            ArtflowError: ``unknown_lora``.
        """
        for one in self.files():
            if one.file == file:
                return one
        raise ArtflowError("unknown_lora", f"There is no file {file[:80]!r} in the folder of LoRAs.")

    def delete(self, file: str) -> None:
        """Delete a file, its preview, and what a download has left of it.

        Raises:
            ArtflowError: ``unknown_lora``, ``not_deleted``.
        """
        path = self.folder / self.get(file).file
        beside = [path.with_name(path.name + ending) for ending in (PART, RECORD)]
        try:
            path.unlink()
            for one in [_preview(path), *beside]:
                if one is not None:
                    one.unlink(missing_ok=True)
        except OSError as error:
            raise ArtflowError("not_deleted", f"{path.name} could not be deleted: {error.strerror}.") from error

    def put(self, file: Path, filename: str) -> LoraFile:
        """A copy of an uploaded file in the folder, under a safe form of its ``filename``.

        Raises:
            ArtflowError: ``unsafe_weights``, ``bad_lora``, ``name_taken``, ``not_written``.
        """
        target = self.folder / safe_filename(filename)
        if target.exists():
            raise ArtflowError("name_taken", f"There is a {target.name} already; delete it first, or rename yours.")
        try:
            header = check_lora(file)
        except ArtflowError as error:
            raise ArtflowError(error.code, error.message.replace(file.name, target.name)) from error
        # A name of its own: a download of this file may be writing under the usual one.
        draft = target.with_name(f".{secrets.token_hex(8)}{PART}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if header.size > free:
                sentence = f"{target.name} has {header.size / 1e6:.0f} MB, and {free / 1e6:.0f} MB of disk are free."
                raise ArtflowError("not_written", sentence)
            shutil.copyfile(file, draft)
            publish(draft, target)
        except FileExistsError:
            draft.unlink(missing_ok=True)
            raise ArtflowError("name_taken", f"There is a {target.name} by now; rename yours.") from None
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise ArtflowError("not_written", f"{target.name} could not be written: {error.strerror}.") from error
        return self._file(target, Path(target.name))

    def _file(self, path: Path, inside: Path) -> LoraFile:
        try:
            size = path.stat().st_size
            if is_unsafe(path.name):
                raise unsafe(path.name)
            header = check_lora(path)
            if not NAME.fullmatch(path.stem):
                raise ArtflowError("bad_name", f"{path.name} has a name that prompts cannot call: {NAMES}.")
        except OSError:  # deleted meanwhile
            return LoraFile(inside.as_posix(), path.stem, path.name, 0, problem=f"{path.name} is gone.")
        except ArtflowError as error:
            return LoraFile(inside.as_posix(), path.stem, path.name, size, problem=error.message)
        preset = next((p for p in self.presets.loras if p.filename == inside.as_posix()), None)
        found = LoraFile(
            inside.as_posix(), path.stem, header.title or path.stem, size, base=header.base,
            trigger=header.triggers, preview=_preview(path),
        )  # fmt: skip
        if preset is None:
            return found
        return replace(
            found, title=preset.name, group=preset.model_type, tags=tuple(preset.tags), preset=preset.id,
            base=header.base or preset.compatible_models[0], trigger=preset.trigger or header.triggers,
        )  # fmt: skip


def publish(draft: Path, target: Path) -> None:
    """Give a whole file its name, which nobody may have taken meanwhile.

    Raises:
        FileExistsError: if there is such a file; ``draft`` stays.
    """
    os.link(draft, target)
    draft.unlink()


def safe_filename(text: str) -> str:
    """A file name for a LoRA, out of one that a person or a server has given.

    Raises:
        ArtflowError: ``unsafe_weights`` for a pickled file, ``bad_name`` for all others that are no ``.safetensors``.
    """
    name = text.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if is_unsafe(name):
        raise unsafe(name[:100])
    stem = re.sub(r"[^\w.+ ()-]", "_", name.removesuffix(SUFFIX))
    stem = re.sub(r"^[\W_]+", "", stem)[:80].strip(" .")
    if not name.endswith(SUFFIX) or not NAME.fullmatch(stem):
        raise ArtflowError("bad_name", f"A LoRA is a {SUFFIX} file; {name[:80]!r} is not.")
    return stem + SUFFIX


def _preview(path: Path) -> Path | None:
    return next((p for ending in PREVIEWS if (p := path.with_name(path.stem + ending)).is_file()), None)
