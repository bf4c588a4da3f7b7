"""Downloads, over real HTTP from a server that speaks the Hub's file routes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from artflow.errors import ArtflowError
from artflow.models import hub
from artflow.models.catalog import ROOT
from artflow.models.hub import download, download_network
from tests.support.hub_server import HubServer
from tests.support.tiny import build_tiny, build_tiny_vae

HALF_UNET = "diffusion_pytorch_model.fp16.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A model with plain and fp16 files and what else lies around in repositories; and a small VAE."""
    root = tmp_path_factory.mktemp("repos")
    build_tiny(root / "model", vae="kl")
    build_tiny(root / "model", vae="kl", variant="fp16")
    (root / "model" / "model.ckpt").write_bytes(b"x" * 1000)
    (root / "model" / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x" * 1000)
    (root / "model" / "README.md").write_text("# hello")
    (root / "model" / "safety_checker").mkdir()
    (root / "model" / "safety_checker" / "model.safetensors").write_bytes(b"x" * 1000)
    build_tiny_vae(root / "vae")
    (root / "vae" / "taesd_decoder.safetensors").write_bytes(b"x" * 1000)
    return {"me/model": root / "model", "me/vae": root / "vae"}


@pytest.fixture
def server(folders):
    with HubServer(folders) as hub:
        yield hub


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_only_what_a_pipeline_needs_and_one_set_of_weights(server, tmp_path):
    folder = download("me/model", variant="fp16", endpoint=server.url, cache_dir=tmp_path)
    assert names(folder) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "unet/config.json",
        f"unet/{HALF_UNET}",
        "vae/config.json",
        f"vae/{HALF_UNET}",
    }


def test_a_part_that_something_else_replaces_is_not_downloaded_until_it_is_needed(server, tmp_path):
    folder = download("me/model", skip={"vae"}, endpoint=server.url, cache_dir=tmp_path)
    assert not (folder / "vae").exists()
    assert names(download_network("me/vae", "vae", endpoint=server.url, cache_dir=tmp_path)) == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    server.log.clear()
    download("me/model", endpoint=server.url, cache_dir=tmp_path)
    assert (folder / "vae" / "config.json").is_file()
    assert not server.fetched("unet/diffusion_pytorch_model.safetensors")


def test_what_is_in_the_cache_needs_no_network(server, tmp_path):
    first = download("me/model", endpoint=server.url, cache_dir=tmp_path)
    server.log.clear()
    assert download("me/model", endpoint=server.url, cache_dir=tmp_path) == first
    assert server.log == []


def test_progress_counts_the_bytes_of_all_files(server, tmp_path):
    heard: list[tuple[str, float | None]] = []
    download(
        "me/model",
        endpoint=server.url,
        cache_dir=tmp_path,
        on_progress=lambda message, fraction: heard.append((message, fraction)),
    )
    fractions = [f for _, f in heard]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert len({f for f in fractions if 0 < f < 1}) >= 3
    assert heard[1][0] == "Downloading me/model: 0 of 4 MB"


def test_who_asks_hears_the_sizes_before_a_byte_is_here_and_may_refuse(server, tmp_path):
    def refuse(files):
        assert files["unet/diffusion_pytorch_model.safetensors"] > 1000
        raise ArtflowError("not_enough_memory", "no room")

    with pytest.raises(ArtflowError, match="no room"):
        download("me/model", endpoint=server.url, cache_dir=tmp_path, admit=refuse)
    assert not server.fetched(".safetensors")


def test_a_disk_without_room_is_said_before_a_byte_is_here(server, tmp_path, monkeypatch):
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(ArtflowError, match=r"me/model has .* MB to download, and 0 MB of disk are free") as raised:
        download("me/model", endpoint=server.url, cache_dir=tmp_path / "not" / "there" / "yet")
    assert raised.value.code == "download_failed" and not server.fetched(".safetensors")


def test_a_cut_connection_goes_on_where_it_was_cut(server, tmp_path, folders, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # 10 MB: more than a tiny model has
    server.cuts[HALF_UNET] = [300_000, 400_000]
    heard: list[float] = []
    folder = download(
        "me/model",
        variant="fp16",
        skip={"vae"},
        endpoint=server.url,
        cache_dir=tmp_path,
        on_progress=lambda _, fraction: heard.append(fraction),
    )
    ranges = [r for method, path, r in server.log if method == "GET" and path.startswith("/cdn") and HALF_UNET in path]
    assert ranges == [None, "bytes=300000-", "bytes=700000-"]
    assert (folder / "unet" / HALF_UNET).read_bytes() == (folders["me/model"] / "unet" / HALF_UNET).read_bytes()
    assert heard == sorted(heard) and heard[-1] == 1.0


@pytest.mark.parametrize(
    ("repo", "revision", "reason"),
    [
        ("me/nothing", None, "There is no repository me/nothing on http://127.0.0.1:"),
        ("me/model", "v9", "me/model on http://127.0.0.1:.* has no revision v9"),
        ("me/vae", None, "me/vae is not a diffusers pipeline"),
    ],
)
def test_what_cannot_be_downloaded_is_said_with_repository_and_endpoint(server, tmp_path, repo, revision, reason):
    with pytest.raises(ArtflowError, match=reason) as caught:
        download(repo, revision=revision, endpoint=server.url, cache_dir=tmp_path)
    assert caught.value.code == "download_failed"


def test_a_gated_repository_says_what_to_do(server, tmp_path):
    server.gated.add("me/model")
    with pytest.raises(
        ArtflowError, match=r"me/model asks for its licence to be accepted on .* set HF_TOKEN"
    ) as caught:
        download("me/model", endpoint=server.url, cache_dir=tmp_path)
    assert caught.value.code == "download_failed"


def test_a_repository_of_pickles_is_refused_before_a_byte_of_them_is_here(folders, tmp_path):
    pickled = shutil.copytree(folders["me/model"], tmp_path / "pickled")
    for path in (pickled / "unet").glob("*.safetensors"):
        path.unlink()
    with HubServer({"me/pickled": pickled}) as hub:
        with pytest.raises(ArtflowError, match=r"unet/diffusion_pytorch_model\.bin is a pickled file") as caught:
            download("me/pickled", endpoint=hub.url, cache_dir=tmp_path / "cache")
        assert caught.value.code == "unsafe_weights"
        assert not hub.fetched(".bin")


def test_an_endpoint_that_cannot_be_reached_is_named(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ArtflowError, match=f"me/model could not be downloaded: {url} cannot be reached") as caught:
        download("me/model", endpoint=url, cache_dir=tmp_path)
    assert caught.value.code == "download_failed"


def test_offline_is_respected(server, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ArtflowError, match="me/model is not downloaded yet, and HF_HUB_OFFLINE forbids") as caught:
        download("me/model", endpoint=server.url, cache_dir=tmp_path)
    assert caught.value.code == "download_failed"
    assert server.log == []


LOAD = """
import json, sys, torch
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec, Source
from artflow.models.loader import load_model
heard = []
spec = ModelSpec(id="m", source=Source(hub="me/model"), variant="fp16", tiny_vae="me/vae")
try:
    model = load_model(spec, device="cpu", dtype=torch.float32, on_progress=lambda m, f: heard.append((m, f)))
    result = {"vae": type(model.vae).__name__, "bytes": model.memory_bytes}
except ArtflowError as error:
    result = error.as_json()
print(json.dumps({"heard": heard, **result}))
"""


def load_elsewhere(**environment: str) -> dict:
    """`load_model` of a Hub id in a process of its own: the environment is read when libraries are imported."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | environment
    output = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return json.loads(output.stdout)


def test_a_hub_id_is_loaded_end_to_end_and_again_without_a_network(server, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE; the small VAE from a repository of its own."""
    home = {"HF_HOME": str(tmp_path)}
    loaded = load_elsewhere(**home, HF_ENDPOINT=server.url)
    assert loaded["vae"] == "AutoencoderTiny"
    fractions = [f for _, f in loaded["heard"] if f is not None]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    said = [m for m, _ in loaded["heard"]]
    assert any(m.startswith("Downloading me/model: ") for m in said)
    assert any(m.startswith("Downloading me/vae: ") for m in said) and said[-1] == "m is ready"
    assert not server.fetched("vae/diffusion_pytorch_model.fp16.safetensors")

    again = load_elsewhere(**home, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert again["bytes"] == loaded["bytes"]
