"""Styles that people have learned: named, kept as files, taken out and put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from artflow.errors import ArtflowError, Cancelled
from artflow.job_context import JobContext
from artflow.models.catalog import ROOT
from artflow.models.families.painter import learn as learning
from artflow.models.families.painter.learn import save_style
from artflow.modes.learned_styles import check_name, learn, own, path_of, put_back
from artflow.prompts.styles import styles

PAINTER = ROOT / "artflow/models/painter"
SIZE = 990


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with one learned style."""
    save_style(tmp_path / "my-cat.safetensors", np.ones(SIZE, np.float32), "My cat", "a photo", "CC0-1.0")
    return tmp_path


def code(error: pytest.ExceptionInfo[ArtflowError]) -> str:
    return error.value.code


def test_a_picture_is_learned_and_its_name_found_in_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = replace(learning.Recipe(), updates=2, size=32, style_size=48, crops=2)
    monkeypatch.setattr(learning, "Recipe", lambda: tiny)
    said: list[str] = []
    context = JobContext(on_progress=lambda p: said.append(f"{p.doing} {p.step} of {p.steps}"))
    style = learn(data.coffee()[::4, ::4], "Grandmother's café", PAINTER, context, tmp_path)
    assert said == ["Learning, update 1 of 2", "Learning, update 2 of 2"]
    assert own(tmp_path) == {style: "Grandmother's café"}
    assert styles(tmp_path).find("a lion, grandmother's café").styles == {style: 1.0}


def test_a_cancel_keeps_nothing(tmp_path: Path) -> None:
    context = JobContext()
    context.cancelled.set()
    with pytest.raises(Cancelled):
        learn(data.coffee()[::4, ::4], "Coffee", PAINTER, context, tmp_path)
    assert not own(tmp_path)


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a, b", "(a:2)", "a\nb", "12", "../../etc: x"])
def test_a_name_that_no_prompt_could_say_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtflowError) as error:
        check_name(name, tmp_path)
    assert code(error) == "bad_name"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "梦境", "C\\x"])
def test_no_name_becomes_a_path(tmp_path: Path, name: str) -> None:
    try:
        style = check_name(name, tmp_path)
    except ArtflowError as error:
        assert error.code == "bad_name"
    else:
        assert style.replace("-", "").isalnum() and style.isascii()


@pytest.mark.parametrize("name", ["Van Gogh", "梵高", "my cat", "MY CAT"])
def test_a_name_names_one_style(kept: Path, name: str) -> None:
    with pytest.raises(ArtflowError) as error:
        check_name(name, kept)
    assert code(error) == "name_taken"


def test_a_file_goes_out_and_comes_back(kept: Path) -> None:
    path = path_of("my-cat", kept)
    file = path.read_bytes()
    path.unlink()
    assert own(kept) == {}
    assert put_back(file, SIZE, kept) == "my-cat"
    assert own(kept) == {"my-cat": "My cat"}


@pytest.mark.parametrize("file", [b"", b"a text", b"x" * 100_000, (PAINTER / "painter.safetensors").read_bytes()])
def test_another_file_is_no_style(tmp_path: Path, file: bytes) -> None:
    with pytest.raises(ArtflowError) as error:
        put_back(file, SIZE, tmp_path)
    assert code(error) == "bad_style"


def test_a_style_of_another_size_is_refused(kept: Path) -> None:
    file = path_of("my-cat", kept).read_bytes()
    path_of("my-cat", kept).unlink()
    with pytest.raises(ArtflowError, match="990 numbers; a style is 991"):
        put_back(file, SIZE + 1, kept)


@pytest.mark.parametrize("style", ["van-gogh", "../my-cat", "none", ""])
def test_only_learned_styles_are_given_out(kept: Path, style: str) -> None:
    with pytest.raises(ArtflowError) as error:
        path_of(style, kept)
    assert code(error) == "unknown_style"
