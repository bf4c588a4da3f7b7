"""The routes of LoRAs: what is offered, downloads and their progress, and who may change anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from websockets.sync.client import connect

from artflow.api.lora import check_may_manage
from artflow.errors import ArtflowError
from tests.api.client import PAGE, Served, serve
from tests.support.lora_server import FileServer, lora

FILE = lora("sdxl", rank=16)
PATH = "/Linaqruf/pastel-anime-xl-lora/resolve/main/pastel-anime-xl-latest.safetensors"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with FileServer({PATH: FILE}, pace=0.01) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        with serve(ARTFLOW_MODELS__LORA_DIR=str(tmp_path)) as running:
            yield running


def test_a_preset_is_downloaded_watched_and_deleted(served: Served, tmp_path: Path) -> None:
    http = served.http
    (tmp_path / "by-hand.safetensors").write_bytes(lora("sd15"))
    listed = http.get("/api/lora/presets").json()
    anime = next(one for one in listed["presets"] if one["id"] == "anime")
    assert anime["downloaded"] is False and anime["mirrors"][0]["name"] == "Hugging Face"
    assert [(one["name"], one["base"]) for one in listed["files"]] == [("by-hand", "sd15")]
    with connect(f"ws://127.0.0.1:{served.port}/api/lora/ws/progress") as socket:
        assert json.loads(socket.recv(20)) == {"type": "progress_update", "tasks": {}}
        begun = http.post(PAGE + "/api/lora/download/anime", params={"mirror_index": 0})
        assert begun.status_code == 200 and begun.json()["task"]["preset_id"] == "anime"
        seen = []
        while not seen or seen[-1]["status"] != "completed":
            seen.append(json.loads(socket.recv(20))["tasks"]["anime"])
    assert [one["progress"] for one in seen] == sorted(one["progress"] for one in seen)
    assert (tmp_path / "anime.safetensors").read_bytes() == FILE
    assert http.get("/api/lora/download/status").json()["totals"]["files"] == 1
    assert http.delete("/api/lora/presets/anime").json() == {"status": "ok"}
    assert not (tmp_path / "anime.safetensors").exists()


def test_what_cannot_be_done_is_one_sentence(served: Served) -> None:
    for method, path, status, code in (
        ("POST", "/api/lora/download/nothing", 404, "unknown_lora"),
        ("POST", "/api/lora/download/anime?mirror_index=9", 422, "bad_mirror"),
        ("POST", "/api/lora/download/anime/cancel", 404, "unknown_download"),
        ("DELETE", "/api/lora/presets/anime", 404, "not_downloaded"),
    ):
        answer = served.http.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_foreign_page_changes_nothing(served: Served) -> None:
    """Any page that the app's owner visits could otherwise fill their disk."""
    evil = {"Origin": "https://evil.example"}
    for method, path in (("POST", "/download/anime"), ("POST", "/download/anime/cancel"), ("DELETE", "/presets/anime")):
        assert served.http.request(method, f"/api/lora{path}", headers=evil).json()["code"] == "foreign_page"
    with connect(f"ws://127.0.0.1:{served.port}/api/lora/ws/progress", origin="https://evil.example") as socket:
        assert json.loads(socket.recv(20))["code"] == "foreign_page"


def test_strangers_read_and_change_nothing(served: Served) -> None:
    stranger = {"X-Forwarded-For": "8.8.8.8"}
    refused = served.http.post("/api/lora/download/anime", headers=stranger)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert served.http.get("/api/lora/presets", headers=stranger).status_code == 200


@pytest.mark.parametrize(
    ("setting", "peer", "headers", "user", "allowed"),
    [
        ("auto", "127.0.0.1", {}, None, True),
        ("auto", "192.168.1.7", {}, None, True),
        ("auto", "8.8.8.8", {}, None, False),
        ("auto", "8.8.8.8", {}, "ann", True),
        ("auto", "127.0.0.1", {"x-forwarded-for": "192.168.1.7"}, None, True),
        ("auto", "10.0.0.1", {"x-forwarded-for": "8.8.8.8"}, None, False),
        ("auto", "10.0.0.1", {"x-forwarded-for": "10.0.0.9, nonsense"}, None, False),
        ("auto", "127.0.0.1", {"x-forwarded-host": "app.example"}, None, False),
        ("auto", None, {}, None, False),
        (True, "8.8.8.8", {}, None, True),
        (False, "127.0.0.1", {}, "ann", False),
    ],
)
def test_who_may_change_files(
    setting: bool | str, peer: str | None, headers: dict[str, str], user: str | None, allowed: bool
) -> None:
    try:
        check_may_manage(setting, peer, headers, user)
    except ArtflowError as error:
        assert not allowed and error.code == "not_allowed"
    else:
        assert allowed


def test_nobody_changes_files_of_a_public_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/space")
    with pytest.raises(ArtflowError, match="ARTFLOW_MODELS__MANAGE_LORAS=true"):
        check_may_manage("auto", "10.0.0.1", {}, None)
