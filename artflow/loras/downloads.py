"""The downloads that people have asked for: one thread, a few at a time, with a memory that outlives the app."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from artflow.errors import ArtflowError, inner_error
from artflow.loras import address
from artflow.loras.download import Source, Wanted, download
from artflow.loras.library import Library, LoraFile, safe_filename
from artflow.loras.task import ACTIVE, State, Task

log = logging.getLogger(__name__)

STATS = ".download_stats.json"
AT_ONCE = 2
MOST_WAITING = 20  # downloads that run or wait
REMEMBERED = 200  # entries of the history


class Downloads:
    """All methods are safe from any thread. ``largest``: bytes of a file; ``stall`` and ``pause`` as `download` has it.

    What was under way when the app ended is there again, paused.
    """

    def __init__(
        self, library: Library, *, largest: int = 4_000_000_000, stall: float = 20.0, pause: float = 0.5
    ) -> None:
        self.library = library
        self._largest, self._patience = largest, {"stall": stall, "pause": pause}
        self._lock = threading.RLock()
        self._tasks: dict[str, Task] = {}
        self._handles: dict[str, asyncio.Task[None]] = {}  # the loop's thread alone
        self._loop: asyncio.AbstractEventLoop | None = None
        self._free = asyncio.Semaphore(AT_ONCE)  # of the loop
        self._history: list[dict[str, Any]] = []
        self._totals = {"files": 0, "bytes": 0, "seconds": 0.0, "failed": 0}
        self._remember()

    # -- what people ask for ----------------------------------------------------------------------------------------

    def start(self, preset_id: str, mirror_index: int = 0) -> Task:
        """Begin to download a preset, or go on with it, from the mirror of this number first.

        Raises:
            ArtflowError: ``unknown_lora``, ``bad_mirror``, ``name_taken`` where it is there already, ``busy``.
        """
        return self._begin(preset_id, *self._of_preset(preset_id, mirror_index))

    def start_own(self, text: str, name: str = "") -> Task:
        """Begin to download what a person names by URL or Hub id (`address.find`); may ask the Hub, for seconds.

        Raises:
            ArtflowError: as `address.find`, ``name_taken``, ``busy``.
        """
        _check_online(text)
        entry = address.find(text, name)
        stem = entry.filename.rsplit(".", 1)[0]
        return self._begin(f"own:{stem}", stem, self._of_entry(entry))

    def resume(self, task_id: str) -> Task:
        """Go on with what was paused, has failed or was cancelled.

        Raises:
            ArtflowError: ``unknown_download``, ``name_taken``, ``busy``.
        """
        task = self._task(task_id)
        return self._begin(task_id, task.name, task.wanted)

    def pause(self, task_id: str) -> None:
        """Stop a download and keep what has arrived; nothing where it is not under way.

        Raises:
            ArtflowError: ``unknown_download``.
        """
        self._stop(task_id, "paused", ACTIVE)

    def cancel(self, task_id: str) -> None:
        """Stop a download and forget what has arrived; nothing where it has ended.

        Raises:
            ArtflowError: ``unknown_download``.
        """
        self._stop(task_id, "cancelled", (*ACTIVE, "paused", "failed"))

    def put(self, file: Path, filename: str) -> LoraFile:
        """Add an uploaded file to the folder, unless a download is about to take its name.

        Raises:
            ArtflowError: as `Library.put`.
        """
        target = self.library.folder / safe_filename(filename)
        with self._lock:
            if any(t.wanted.target == target and t.state in (*ACTIVE, "paused") for t in self._tasks.values()):
                raise ArtflowError("name_taken", f"{target.name} is being downloaded; cancel that, or rename yours.")
        return self.library.put(file, filename)

    def delete(self, file: str) -> None:
        """Delete a file of the folder (`LoraFile.file`).

        Raises:
            ArtflowError: as `Library.delete`.
        """
        self.library.delete(file)
        with self._lock:
            for task in [t for t in self._tasks.values() if t.state == "completed" and t.wanted.target.name == file]:
                del self._tasks[task.id]

    def delete_preset(self, preset_id: str) -> None:
        """Delete the file of a preset, and stop its download.

        Raises:
            ArtflowError: ``unknown_lora``, ``not_downloaded``.
        """
        preset = self.library.presets.get(preset_id)
        with self._lock:
            under_way = preset_id in self._tasks and self._tasks[preset_id].state in (*ACTIVE, "paused", "failed")
        if under_way:
            self.cancel(preset_id)
        if self.library.has(preset):
            self.delete(preset.filename)
        elif not under_way:
            raise ArtflowError("not_downloaded", f"{preset.name} is not downloaded, so there is nothing to delete.")

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """All downloads since the start, the unfinished ones from before too, by id."""
        with self._lock:
            return {task.id: task.as_json() for task in self._tasks.values()}

    @property
    def totals(self) -> dict[str, float]:
        """Files, bytes and seconds of all downloads that have ended well, and how many have failed."""
        with self._lock:
            return dict(self._totals)

    @property
    def history(self) -> list[dict[str, Any]]:
        """What has ended, the newest last."""
        with self._lock:
            return list(self._history)

    def close(self) -> None:
        """Stop what is under way; it is there again at the next start."""
        with self._lock:
            active = [task.id for task in self._tasks.values() if task.state in ACTIVE]
            loop, self._loop = self._loop, None
        if loop is None:
            return
        for task_id in active:
            with self._lock:
                self._tasks[task_id].state = "paused"
        self._save()
        asyncio.run_coroutine_threadsafe(self._end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)

    # -- in the loop's thread -----------------------------------------------------------------------------------------

    async def _run(self, task: Task, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        async with self._free:
            with self._lock:
                if task.state != "queued":
                    return
                task.state, task.began = "downloading", time.monotonic()
            try:
                source = await download(task.wanted, task.progress, **self._patience)
            except ArtflowError as error:
                self._ended(task, "failed", error.message)
            except Exception as error:
                log.error("a download failed", exc_info=error)
                self._ended(task, "failed", inner_error(error).message)
            else:
                task.mirror = source.name
                self._ended(task, "completed")

    def _launch(self, task: Task) -> None:
        loop = asyncio.get_running_loop()
        handle = loop.create_task(self._run(task, self._handles.get(task.id)))
        self._handles[task.id] = handle
        handle.add_done_callback(lambda _: self._let_go(task, handle))

    def _let_go(self, task: Task, handle: asyncio.Task[None]) -> None:
        if self._handles.get(task.id) is handle:
            del self._handles[task.id]
            if task.state == "cancelled":
                task.wanted.forget()

    def _interrupt(self, task: Task) -> None:
        if (handle := self._handles.get(task.id)) is not None:
            handle.cancel()
        elif task.state == "cancelled":
            task.wanted.forget()

    async def _end(self) -> None:
        handles = list(self._handles.values())
        for handle in handles:
            handle.cancel()
        await asyncio.gather(*handles, return_exceptions=True)

    # -- beside it ----------------------------------------------------------------------------------------------------

    def _begin(self, task_id: str, name: str, wanted: Wanted) -> Task:
        _check_online(wanted.sources[0].url)
        with self._lock:
            active = [task for task in self._tasks.values() if task.state in ACTIVE]
            for other in active:
                if other.id == task_id:
                    return other
                if other.wanted.target == wanted.target:
                    raise ArtflowError("name_taken", f"{wanted.target.name} is being downloaded already.")
            if wanted.target.exists():
                raise ArtflowError("name_taken", f"{wanted.target.name} is there already; delete it first.")
            if len(active) >= MOST_WAITING:
                raise ArtflowError("busy", f"{len(active)} downloads run or wait already; try again later.")
            task = Task(task_id, name, wanted, done=_arrived(wanted), total=wanted.size)
            self._tasks.pop(task_id, None)
            self._tasks[task_id] = task
            self._on_loop(self._launch, task)
        self._save()
        return task

    def _stop(self, task_id: str, state: State, where: tuple[str, ...]) -> None:
        task = self._task(task_id)
        with self._lock:
            if task.state not in where:
                return
            task.state, task.error = state, ""
            if state == "cancelled":
                task.done = 0
            self._on_loop(self._interrupt, task)
        self._save()

    def _task(self, task_id: str) -> Task:
        with self._lock:
            if task_id in self._tasks:
                return self._tasks[task_id]
        raise ArtflowError("unknown_download", f"There is no download {task_id[:80]!r}; begin one first.")

    def _on_loop(self, function: Callable[[Task], None], task: Task) -> None:
        if self._loop is None:
            self._loop, self._free = asyncio.new_event_loop(), asyncio.Semaphore(AT_ONCE)
            threading.Thread(target=self._loop.run_forever, name="lora downloads", daemon=True).start()
        self._loop.call_soon_threadsafe(function, task)

    def _ended(self, task: Task, state: State, error: str = "") -> None:
        with self._lock:
            task.state, task.error = state, error
            seconds = time.monotonic() - task.began
            if state == "completed":
                self._totals["files"] += 1
                self._totals["bytes"] += task.done
                self._totals["seconds"] = round(self._totals["seconds"] + seconds, 1)
            else:
                self._totals["failed"] += 1
            self._history.append({
                "id": task.id, "name": task.name, "filename": task.wanted.target.name, "status": state,
                "bytes": task.done, "seconds": round(seconds, 1), "mirror": task.mirror, "error": error,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            })  # fmt: skip
            del self._history[:-REMEMBERED]
            over = [one.id for one in self._tasks.values() if one.state in ("completed", "cancelled")]
            for old in over[:-REMEMBERED]:
                del self._tasks[old]
        self._save()

    def _of_preset(self, preset_id: str, mirror_index: int) -> tuple[str, Wanted]:
        preset = self.library.presets.get(preset_id)
        if not 0 <= mirror_index < len(preset.mirrors):
            last = len(preset.mirrors) - 1
            raise ArtflowError("bad_mirror", f"{preset.name} has no mirror {mirror_index}; allowed are 0 to {last}.")
        mirrors = preset.mirrors[mirror_index:] + preset.mirrors[:mirror_index]
        sources = [Source(mirror.name, mirror.address) for mirror in mirrors]
        target = self.library.folder / preset.filename
        return preset.name, Wanted(target, sources, preset.size, preset.sha256, largest=self._largest)

    def _of_entry(self, entry: address.Entry) -> Wanted:
        source = Source("its address", entry.url)
        target = self.library.folder / entry.filename
        return Wanted(target, [source], own=not entry.on_hub, largest=self._largest)

    # -- what outlives the app ----------------------------------------------------------------------------------------

    @property
    def _stats(self) -> Path:
        return self.library.folder / STATS

    def _save(self) -> None:
        with self._lock:
            unfinished = [
                {"id": task.id, "url": task.wanted.sources[0].url, "filename": task.wanted.target.name}
                for task in self._tasks.values() if task.state in (*ACTIVE, "paused", "failed")
            ]  # fmt: skip
            stats = {"totals": self._totals, "history": self._history, "unfinished": unfinished}
            draft = self._stats.with_suffix(".tmp")
            try:
                self.library.folder.mkdir(parents=True, exist_ok=True)
                draft.write_text(json.dumps(stats, indent=1, ensure_ascii=False), encoding="utf-8")
                draft.replace(self._stats)
            except OSError as error:
                log.warning("the history of downloads could not be written", exc_info=error)

    def _remember(self) -> None:
        if not self._stats.is_file():
            return
        try:
            stats = json.loads(self._stats.read_text(encoding="utf-8"))
            self._history = list(stats["history"])[-REMEMBERED:]
            self._totals |= {key: stats["totals"][key] for key in self._totals}
            for one in stats["unfinished"]:
                task = self._unfinished(one["id"], address.Entry(one["url"], one["filename"]))
                self._tasks[task.id] = task
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ArtflowError) as error:
            # Its downloads start again where somebody asks for them; the parts are still there.
            log.warning("the history of downloads cannot be read, so a new one begins", exc_info=error)

    def _unfinished(self, task_id: str, entry: address.Entry) -> Task:
        if task_id.startswith("own:"):
            address.check(entry.url)
            name, wanted = task_id.removeprefix("own:"), self._of_entry(entry)
        else:
            name, wanted = self._of_preset(task_id, 0)
        return Task(task_id, name, wanted, "paused", _arrived(wanted), wanted.size)


def _arrived(wanted: Wanted) -> int:
    return wanted.part.stat().st_size if wanted.part.is_file() else 0


def _check_online(what: str) -> None:
    if constants.HF_HUB_OFFLINE:
        raise ArtflowError("download_failed", f"HF_HUB_OFFLINE forbids downloads, of {what[:80]} too.")
