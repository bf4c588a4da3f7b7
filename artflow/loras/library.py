"""What lies in the folder of LoRAs: files that were downloaded, uploaded, or put there by hand."""

from __future__ import annotations

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
MOST = 2_000  # files that are listed


@dataclass(frozen=True)
class LoraFile:
    """One file of the folder. ``name`` is what it is asked for by: its path below the folder, without the suffix.

    ``problem`` is a sentence where it cannot be used; then nothing is known but its size in bytes.
    """

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
        """Without the preview, whose path is nobody's business."""
        return {key: value for key, value in asdict(self).items() if key != "preview"}


class Library:
    """The folder, read anew each time it is asked for; headers are remembered until their file changes."""

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

    def path_of(self, name: str) -> Path:
        """The file of this name, which may come from a user: only names that `files` lists are found.

        Raises:
            ArtflowError: ``unknown_lora``.
        """
        for suffix in ("", SUFFIX):  # a pickle is listed, and deleted, under its whole name
            path = self.folder / f"{name}{suffix}"
            if any(one.name == name for one in self.files()) and path.is_file():
                return path
        raise ArtflowError("unknown_lora", f"There is no LoRA {name[:80]!r} in the folder.")

    def delete(self, name: str) -> None:
        """Delete a file, its preview, and what a download has left of it.

        Raises:
            ArtflowError: ``unknown_lora``, ``not_deleted``.
        """
        path = self.path_of(name)
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
        draft = target.with_name(target.name + PART)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if header.size > free:
                sentence = f"{target.name} has {header.size / 1e6:.0f} MB, and {free / 1e6:.0f} MB of disk are free."
                raise ArtflowError("not_written", sentence)
            shutil.copyfile(file, draft)
            draft.replace(target)
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
        except OSError:  # deleted meanwhile
            return LoraFile(inside.with_suffix("").as_posix(), path.stem, 0, problem=f"{path.name} is gone.")
        except ArtflowError as error:
            name = inside if is_unsafe(path.name) else inside.with_suffix("")
            return LoraFile(name.as_posix(), path.name, size, problem=error.message)
        preset = next((p for p in self.presets.loras if p.filename == inside.as_posix()), None)
        found = LoraFile(
            inside.with_suffix("").as_posix(), header.title or path.stem, size, base=header.base,
            trigger=header.triggers, preview=_preview(path),
        )  # fmt: skip
        if preset is None:
            return found
        return replace(
            found, title=preset.name, group=preset.model_type, tags=tuple(preset.tags), preset=preset.id,
            base=header.base or preset.compatible_models[0], trigger=preset.trigger or header.triggers,
        )  # fmt: skip


def safe_filename(text: str) -> str:
    """A file name for a LoRA, out of one that a person or a server has given.

    Raises:
        ArtflowError: ``unsafe_weights`` for a pickled file, ``bad_name`` for all others that are no ``.safetensors``.
    """
    name = text.replace("\\", "/").rsplit("/", 1)[-1].strip()
    if is_unsafe(name):
        raise unsafe(name[:100])
    stem = "".join(sign if sign.isalnum() or sign in "-_.()+ " else "_" for sign in name.removesuffix(SUFFIX))
    stem = stem.strip(" ._")[:80]
    if not name.endswith(SUFFIX) or not stem:
        raise ArtflowError("bad_name", f"A LoRA is a {SUFFIX} file; {name[:80]!r} is not.")
    return stem + SUFFIX


def _preview(path: Path) -> Path | None:
    return next((p for ending in PREVIEWS if (p := path.with_name(path.stem + ending)).is_file()), None)
