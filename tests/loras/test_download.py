"""One file from the network: whole, or not there at all. Against a real server that misbehaves."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from huggingface_hub import constants

from artflow.errors import ArtflowError
from artflow.loras import address
from artflow.loras.download import Source, Wanted, download
from tests.support.lora_server import FAULTS, FileServer, changed, lora

T = TypeVar("T")
A, B = "/a.safetensors", "/b.safetensors"


def wanted(server: FileServer, folder: Path, *paths: str, **about: object) -> Wanted:
    sources = [Source(f"mirror {i}", server.url + path) for i, path in enumerate(paths)]
    return Wanted(folder / "mine.safetensors", sources, **about)


def run(work: Coroutine[Any, Any, T]) -> T:
    """In a thread: a browser of another test may have a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def fetch(one: Wanted) -> Source:
    return run(download(one, lambda *_: None, stall=0.3, pause=0.001))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_under_its_own_name(server: FileServer, tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    one = wanted(server, tmp_path, A, size=len(server.files[A]))
    run(download(one, lambda *words: said.append(words)))
    assert one.target.read_bytes() == server.files[A]
    assert left(tmp_path) == ["mine.safetensors"]
    assert said[-1] == (one.size, one.size, "Checking") and said[0][2] == "Downloading"


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_what_was_cut_is_carried_on_with(server: FileServer, tmp_path: Path, fault: str) -> None:
    server.faults[A] = [fault]
    one = wanted(server, tmp_path, A)
    fetch(one)
    assert one.target.read_bytes() == server.files[A]
    first, second = server.ranges(A)
    assert first == "" and re.fullmatch(r"bytes=[1-9]\d*-", second)


def test_a_file_that_changes_half_way_is_no_mixture(server: FileServer, tmp_path: Path) -> None:
    server.faults[A] = ["cut", "changes"]
    one, old = wanted(server, tmp_path, A), server.files[A]
    fetch(one)
    assert one.target.read_bytes() == server.files[A] == changed(old)


@pytest.mark.parametrize("fault", ["ignores_range", "wrong_range"])
def test_a_server_without_ranges_sends_all_of_it_again(server: FileServer, tmp_path: Path, fault: str) -> None:
    server.faults[A] = ["cut", fault]
    one = wanted(server, tmp_path, A)
    fetch(one)
    assert one.target.read_bytes() == server.files[A]


def test_a_restart_goes_on_and_a_known_checksum_lets_another_mirror_do_so(server: FileServer, tmp_path: Path) -> None:
    server.faults[A] = ["cut", *["404"] * 9]
    known = hashlib.sha256(server.files[A]).hexdigest()
    with pytest.raises(ArtflowError):
        fetch(wanted(server, tmp_path, A, sha256=known))
    assert left(tmp_path) == ["mine.safetensors.part", "mine.safetensors.part.json"]
    assert fetch(wanted(server, tmp_path, B, sha256=known)).url.endswith(B)
    assert server.ranges(B)[0].startswith("bytes=")
    assert left(tmp_path) == ["mine.safetensors"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("403", "answers 403, it refuses the file"),
        ("429_long", "asks for 3600 s"),
        ("page", "no safetensors file but a web page"),
        ("weights", "is no LoRA"),
        ("too_short", "was cut short or changed"),
        ("packed", "packed"),
        ("other_checksum", "its SHA-256 is not the right one"),
        ("loop", "from one address to the next"),
        ("to_private", "only https:// is allowed"),
    ],
)
def test_the_next_mirror_is_asked_and_without_one_the_sentence_says_why(
    server: FileServer, tmp_path: Path, fault: str, sentence: str
) -> None:
    faults = [fault, ""] * 20 if fault == "other_checksum" else [fault] * 40
    server.faults[A] = [*faults]
    with pytest.raises(ArtflowError, match=re.escape(sentence)) as raised:
        fetch(wanted(server, tmp_path, A))
    assert raised.value.code == "download_failed" and "mirror 0: " in raised.value.message
    assert "mine.safetensors" not in left(tmp_path)
    server.faults[A] = faults
    assert fetch(wanted(server, tmp_path, A, B)).name == "mirror 1"


def test_a_wrong_checksum_a_wrong_size_and_too_large_a_file_are_refused(server: FileServer, tmp_path: Path) -> None:
    right = len(server.files[A])
    for about, sentence in (
        ({"sha256": "0" * 64}, "SHA-256"), ({"size": right + 1}, f"{right + 1} are right"), ({"largest": 9}, "at most"),
    ):  # fmt: skip
        with pytest.raises(ArtflowError, match=sentence):
            fetch(wanted(server, tmp_path, A, **about))
        assert left(tmp_path) == []


def test_a_server_that_has_had_enough_is_waited_for(server: FileServer, tmp_path: Path) -> None:
    server.faults[A] = ["429", "429_date", "500"]
    fetch(wanted(server, tmp_path, A))
    assert len(server.log) == 4


def test_a_stopped_download_keeps_what_has_arrived(server: FileServer, tmp_path: Path) -> None:
    server.faults[A] = ["stall"]
    one = wanted(server, tmp_path, A)

    async def stopped() -> None:
        task = asyncio.create_task(download(one, lambda *_: None))
        while not one.part.exists() or not one.part.stat().st_size:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(stopped())
    assert one.part.stat().st_size > 0 and not one.target.exists()
    fetch(one)
    assert one.target.read_bytes() == server.files[A]
    assert server.ranges(A)[1] != ""


def test_a_hundred_random_faults_leave_no_broken_file(server: FileServer, tmp_path: Path) -> None:
    """50 downloads with up to three mirrors, each with up to four faults: whole, or a sentence."""
    dice = random.Random(7)
    ends = {"right": 0, "sentence": 0}
    faults = 0

    async def one(number: int) -> None:
        nonlocal faults
        file = lora(seed=number, rank=16)
        paths = [f"/{number}-{i}.safetensors" for i in range(dice.randint(1, 3))]
        for path in paths:
            server.files[path] = file
            server.faults[path] = dice.choices(FAULTS, k=dice.randint(0, 4))
            faults += len(server.faults[path])
        about = {"sha256": hashlib.sha256(file).hexdigest()} if dice.random() < 0.5 else {}
        (folder := tmp_path / str(number)).mkdir()
        what = wanted(server, folder, *paths, **about)
        right = [file] if about else [file, changed(file)]
        try:
            await download(what, lambda *_: None, stall=0.3, pause=0.001)
        except ArtflowError as error:
            assert error.message.endswith(".") and "mirror 0: " in error.message
            assert not what.target.exists()
            ends["sentence"] += 1
        else:
            assert what.target.read_bytes() in right
            assert left(folder) == ["mine.safetensors"]
            ends["right"] += 1

    async def all_of_them() -> None:
        for start in range(0, 50, 25):
            await asyncio.gather(*(one(number) for number in range(start, start + 25)))

    run(all_of_them())
    assert faults >= 100 and ends["right"] >= 25 and ends["sentence"] >= 5


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://example.com/a.safetensors", "only https"),
        ("file:///etc/passwd", "no address that can be used"),
        ("https://127.0.0.1/a.safetensors", "private network"),
        ("https://[::1]/a.safetensors", "private network"),
        ("https://169.254.169.254/latest/a.safetensors", "private network"),
        ("https://me:secret@example.com/a.safetensors", "no address that can be used"),
        ("https://example.com/a b.safetensors", "no address that can be used"),
        ("https://[/a.safetensors", "no address"),
        ("https://example.com/model.ckpt", "pickled file"),
        ("https://example.com/download/12", "give a name"),
        ("owner/name/model.bin", "pickled file"),
        ("../../etc/passwd", "no address"),
    ],
)
def test_what_people_may_not_ask_for(url: str, sentence: str) -> None:
    with pytest.raises(ArtflowError, match=sentence):
        address.find(url)


def test_a_name_that_leads_into_the_own_network_is_not_asked(tmp_path: Path) -> None:
    """Names are looked up at the moment of each connection, those of redirects too."""
    what = Wanted(tmp_path / "a.safetensors", [Source("its address", "https://localhost/a.safetensors")], own=True)
    with pytest.raises(ArtflowError, match="leads into a private network"):
        fetch(what)


def test_what_people_mean(server: FileServer) -> None:
    del server.files[B]
    hub = constants.ENDPOINT
    assert address.find("owner/name/sub/x.safetensors").url == f"{hub}/owner/name/resolve/main/sub/x.safetensors"
    assert address.find("owner/name").filename == "a.safetensors"
    assert address.find("owner/name/pytorch_lora_weights.safetensors").filename == "name.safetensors"
    page = address.find("https://huggingface.co/owner/name/blob/v2/x.safetensors", "My style")
    assert (page.url, page.filename) == (f"{hub}/owner/name/resolve/v2/x.safetensors", "My style.safetensors")
    other = address.find("https://example.com/d/12?type=Model", "../x/..y")
    assert (other.filename, other.on_hub, page.on_hub) == ("y.safetensors", False, True)


def test_an_address_that_carries_a_private_one_is_not_public() -> None:
    for hidden in ("64:ff9b::a00:1", "2002:a00:1::", "fec0::1", "::10.0.0.1", "::ffff:10.0.0.1"):
        assert not address.is_public(hidden), hidden
        with pytest.raises(ArtflowError, match="private network"):
            address.check(f"https://[{hidden}]/a.safetensors")
    assert address.is_public("2606:4700::1111") and address.is_public("1.1.1.1")
