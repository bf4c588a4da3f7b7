"""Downloads as people ask for them: some at a time, paused, cancelled, remembered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from artflow.errors import ArtflowError
from artflow.loras.downloads import STATS, Downloads
from artflow.loras.library import Library
from artflow.loras.presets import LoraPreset, Mirror, Presets
from tests.support.lora_server import FileServer, lora

SECONDS = 20  # after which a test that waits has failed
FILE = lora(rank=128)  # 550 kB


def preset(name: str, *paths: str) -> LoraPreset:
    mirrors = [Mirror(name=f"mirror {i}", url=f"https://huggingface.co{path}") for i, path in enumerate(paths)]
    return LoraPreset(
        id=name, name=name.title(), mirrors=mirrors, filename=f"{name}.safetensors", size=len(FILE),
        model_type="style", compatible_models=["sd15"],
    )  # fmt: skip


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer({f"/o/{name}/resolve/main/x.safetensors": FILE for name in "abc"}, pace=0.005) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        yield running


@pytest.fixture
def library(tmp_path: Path) -> Library:
    paths = {name: f"/o/{name}/resolve/main/x.safetensors" for name in "abc"}
    return Library(tmp_path, Presets(loras=[preset(name, path, paths["c"]) for name, path in paths.items()]))


@pytest.fixture
def downloads(hub: FileServer, library: Library) -> Iterator[Downloads]:
    running = Downloads(library, stall=1, pause=0.01)
    yield running
    running.close()


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "that has not come"
        time.sleep(0.01)


def ended(downloads: Downloads, name: str, state: str = "completed") -> dict:
    wait(lambda: downloads.tasks[name]["status"] == state)
    return downloads.tasks[name]


def test_two_at_a_time_with_progress_and_speed(downloads: Downloads, library: Library) -> None:
    for name in "abc":
        downloads.start(name)
    wait(lambda: downloads.tasks["a"]["downloaded"] > 100_000)
    states = [downloads.tasks[name]["status"] for name in "abc"]
    assert states[2] == "queued" and states.count("downloading") <= 2
    wait(lambda: downloads.tasks["a"]["speed"] > 0)
    for name in "abc":
        task = ended(downloads, name)
        assert (task["progress"], task["total"], task["mirror"]) == (100.0, len(FILE), "mirror 0")
    assert [one.name for one in library.files()] == ["a", "b", "c"]
    assert downloads.totals == downloads.totals | {"files": 3, "bytes": 3 * len(FILE), "failed": 0}


def test_pause_and_resume_fetch_nothing_twice(downloads: Downloads, hub: FileServer) -> None:
    downloads.start("a")
    wait(lambda: downloads.tasks["a"]["downloaded"] > 100_000)
    downloads.pause("a")
    stopped = downloads.tasks["a"]
    assert stopped["status"] == "paused" and stopped["speed"] == 0
    downloads.resume("a")
    ended(downloads, "a")
    starts = [int(one.removeprefix("bytes=").rstrip("-") or 0) for one in hub.ranges("/o/a/resolve/main/x.safetensors")]
    assert starts[0] == 0 and starts[1] >= 100_000


def test_a_cancelled_download_leaves_nothing(downloads: Downloads, library: Library) -> None:
    downloads.start("a")
    wait(lambda: downloads.tasks["a"]["downloaded"] > 0)
    downloads.cancel("a")
    wait(lambda: {path.name for path in library.folder.iterdir()} == {STATS})
    assert downloads.tasks["a"]["status"] == "cancelled"
    downloads.start("a")
    ended(downloads, "a")


def test_after_a_restart_what_was_under_way_is_paused_and_goes_on(
    downloads: Downloads, library: Library, hub: FileServer
) -> None:
    downloads.start("a")
    downloads.start_own("o/b/x.safetensors", "mine")
    wait(lambda: all(task["downloaded"] > 50_000 for task in downloads.tasks.values()))
    downloads.close()
    again = Downloads(library, stall=1)
    assert {name: task["status"] for name, task in again.tasks.items()} == {"a": "paused", "own:mine": "paused"}
    assert again.tasks["a"]["downloaded"] > 50_000
    for name in again.tasks:
        again.resume(name)
    for name in again.tasks:
        ended(again, name)
    again.close()
    assert all(ranges[-1] for path in "ab" if (ranges := hub.ranges(f"/o/{path}/resolve/main/x.safetensors")))
    stats = json.loads((library.folder / STATS).read_text())
    assert stats["unfinished"] == [] and stats["totals"]["files"] == 2
    assert sorted(one["filename"] for one in stats["history"]) == ["a.safetensors", "mine.safetensors"]
    assert Downloads(library).totals["files"] == 2


def test_what_fails_says_why_and_can_be_tried_again(downloads: Downloads, hub: FileServer) -> None:
    for path in "ac":
        hub.faults[f"/o/{path}/resolve/main/x.safetensors"] = ["403"]
    downloads.start("a")
    failed = ended(downloads, "a", "failed")
    assert "mirror 0: it answers 403" in failed["error"] and "mirror 1: " in failed["error"]
    assert downloads.history[-1]["error"] == failed["error"] and downloads.totals["failed"] == 1
    downloads.resume("a")
    ended(downloads, "a")


def test_what_has_failed_is_there_after_a_restart_and_can_be_cancelled(
    downloads: Downloads, library: Library, hub: FileServer
) -> None:
    for path in "ac":
        hub.faults[f"/o/{path}/resolve/main/x.safetensors"] = ["403"]
    downloads.start("a")
    ended(downloads, "a", "failed")
    part = library.folder / "a.safetensors.part"
    part.write_bytes(FILE[:1000])
    again = Downloads(library)
    assert again.tasks["a"]["downloaded"] == 1000
    again.cancel("a")
    wait(lambda: not part.exists())
    again.close()


def test_nobody_uploads_or_overwrites_what_is_being_downloaded(
    downloads: Downloads, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mine = tmp_path_factory.mktemp("mine") / "a.safetensors"
    mine.write_bytes(lora(rank=2))
    downloads.start("a")
    with pytest.raises(ArtflowError, match="is being downloaded") as refused:
        downloads.put(mine, "a.safetensors")
    assert refused.value.code == "name_taken"
    by_hand = library.folder / "a.safetensors"
    by_hand.write_bytes(mine.read_bytes())
    assert "which somebody has added" in ended(downloads, "a", "failed")["error"]
    assert by_hand.read_bytes() == mine.read_bytes()


def test_what_cannot_be_begun(downloads: Downloads, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    (library.folder / "b.safetensors").write_bytes(FILE)
    for begin, code in (
        (lambda: downloads.start("nothing"), "unknown_lora"),
        (lambda: downloads.start("a", 2), "bad_mirror"),
        (lambda: downloads.start("b"), "name_taken"),
        (lambda: downloads.start_own("o/a/x.safetensors", "b"), "name_taken"),
        (lambda: downloads.resume("a"), "unknown_download"),
        (lambda: downloads.delete_preset("a"), "not_downloaded"),
    ):
        with pytest.raises(ArtflowError) as raised:
            begin()
        assert raised.value.code == code
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ArtflowError, match="HF_HUB_OFFLINE"):
        downloads.start("a")


def test_a_preset_is_deleted_whether_it_is_there_or_on_its_way(downloads: Downloads, library: Library) -> None:
    downloads.start("a")
    ended(downloads, "a")
    downloads.delete_preset("a")
    assert library.files() == [] and downloads.tasks == {}
    downloads.start("a")
    downloads.delete_preset("a")
    wait(lambda: {path.name for path in library.folder.iterdir()} == {STATS})


def test_a_history_that_cannot_be_read_begins_anew(hub: FileServer, library: Library) -> None:
    (library.folder / STATS).write_text('{"totals": 3}')
    assert Downloads(library).history == []
