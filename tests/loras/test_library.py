"""What lies in the folder, and the list of what is offered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from artflow.errors import ArtflowError
from artflow.loras.header import read_header
from artflow.loras.library import Library, publish
from artflow.loras.presets import Presets, load_presets
from tests.support.lora_server import WIDTHS, lora


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path, load_presets())


def test_the_presets_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    presets = load_presets()
    assert {"lcm-lora-sdv1-5", "lcm-lora-sdxl", "anime", "realistic", "oil-painting", "cyberpunk"} == {
        preset.id for preset in presets.loras
    }
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.example/")
    mirrors = presets.get("lcm-lora-sdxl").mirrors
    assert mirrors[0].address.startswith("https://hub.example/latent-consistency/lcm-lora-sdxl/resolve/main/")
    assert mirrors[1].address.startswith("https://www.modelscope.cn/")
    with pytest.raises(ArtflowError, match=r"There is no LoRA '\.\./x' to download"):
        presets.get("../x")


def test_a_preset_cannot_leave_the_folder_or_go_without_https() -> None:
    entry = load_presets().loras[0].model_dump()
    for change in ({"filename": "../x.safetensors"}, {"filename": "x.ckpt"}, {"sha256": "abc"},
                   {"mirrors": [{"name": "x", "url": "http://example.com/x"}]}):  # fmt: skip
        with pytest.raises(ValueError):
            Presets.model_validate({"loras": [entry | change]})


def test_files_put_there_by_hand_are_found_and_described(library: Library, tmp_path: Path) -> None:
    assert library.files() == []
    about = {"ss_tag_frequency": json.dumps({"10_x": {"ink": 9, "lines": 9, "cat": 1}}), "ss_output_name": "Inky"}
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ink.safetensors").write_bytes(lora("sdxl", metadata=about))
    (tmp_path / "sub" / "ink.preview.png").write_bytes(b"png")
    (tmp_path / "lcm-lora-sdv1-5.safetensors").write_bytes(lora("sd15"))
    (tmp_path / ".hidden.safetensors").write_bytes(b"")
    (tmp_path / "half.safetensors.part").write_bytes(b"")
    lcm, ink = library.files()
    assert (ink.file, ink.name, ink.title) == ("sub/ink.safetensors", "ink", "Inky")
    assert (ink.base, ink.trigger, ink.group) == ("sdxl", "ink, lines", "other")
    assert ink.preview == tmp_path / "sub" / "ink.preview.png" and ink.as_json()["preview"] is True
    assert (lcm.preset, lcm.group, lcm.tags) == ("lcm-lora-sdv1-5", "acceleration", ("lcm", "fast"))


@pytest.mark.parametrize("base", WIDTHS)
def test_the_base_is_read_from_the_shapes(tmp_path: Path, base: str) -> None:
    (path := tmp_path / "x.safetensors").write_bytes(lora(base, metadata={"modelspec.trigger_phrase": "in ink"}))
    header = read_header(path)
    assert (header.base, header.triggers, header.is_lora) == (base, "in ink", True)


def test_what_cannot_be_used_says_so(library: Library, tmp_path: Path) -> None:
    whole = lora()
    for name, data in (("a.pt", b"PK"), ("b.safetensors", whole[:-1]), ("c.safetensors", b"<html>"),
                       ("d.safetensors", b""), ("e.safetensors", whole[:8] + b"[" + whole[9:])):  # fmt: skip
        (tmp_path / name).write_bytes(data)
    (tmp_path / "_f.safetensors").write_bytes(whole)
    problems = {one.name: one.problem for one in library.files()}
    assert "pickled file" in problems["a"] and "cut short" in problems["b"] and "a web page" in problems["c"]
    assert problems["d"] and problems["e"] and "a letter or digit first" in problems["_f"]
    for one in library.files():
        library.delete(one.file)
    assert library.files() == []


def test_uploads_are_checked_and_named_safely(library: Library, tmp_path: Path) -> None:
    (source := tmp_path / ".upload").write_bytes(lora("sd2"))
    assert library.put(source, "../../My: style.safetensors").name == "My_ style"
    with pytest.raises(ArtflowError, match="is a My_ style"):
        library.put(source, "My: style.safetensors")
    for name, code in (("x.pkl", "unsafe_weights"), ("x.txt", "bad_name"), (".safetensors", "bad_name")):
        with pytest.raises(ArtflowError) as raised:
            library.put(source, name)
        assert raised.value.code == code
    source.write_bytes(lora()[:-9])
    with pytest.raises(ArtflowError, match="other"):
        library.put(source, "other.safetensors")


def test_an_upload_leaves_what_a_download_is_writing_and_its_name_is_taken_once(
    library: Library, tmp_path: Path
) -> None:
    part = tmp_path / "mine.safetensors.part"
    part.write_bytes(b"half of another")
    (tmp_path / "up").mkdir()
    upload = tmp_path / "up" / "mine.safetensors"
    upload.write_bytes(lora())
    library.put(upload, upload.name)
    assert part.read_bytes() == b"half of another"
    assert (tmp_path / "mine.safetensors").read_bytes() == lora()
    with pytest.raises(FileExistsError):
        publish(part, tmp_path / "mine.safetensors")
    assert part.is_file() and not list(tmp_path.glob(".*"))


def test_only_listed_names_are_deleted(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    (tmp_path / "outside.safetensors").write_bytes(lora())
    folder.mkdir()
    (folder / "x.safetensors").write_bytes(lora())
    (folder / "x.png").write_bytes(b"png")
    inner = Library(folder, library.presets)
    for name in ("../outside.safetensors", "/etc/passwd", "x", "x.png", ""):
        with pytest.raises(ArtflowError, match="There is no file"):
            inner.delete(name)
    inner.delete("x.safetensors")
    assert list(folder.iterdir()) == [] and (tmp_path / "outside.safetensors").exists()
