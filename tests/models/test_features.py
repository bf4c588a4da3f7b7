"""Text features on the disk: computed once, and made anew when anything about them is different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artflow.models.features import feature_file, features
from tests.support.clip import WordTowers

TERMS = ("a cat", "a dog", "the sea")


def asked(folder: Path | None, towers: WordTowers, terms: tuple[str, ...] = TERMS) -> tuple[np.ndarray, bool]:
    """The features, and whether they had to be computed."""
    before = len(towers.calls)
    rows = features(folder, towers, "subject", terms, lambda: towers.encode_text(terms))
    return rows, len(towers.calls) > before


def test_computed_once(tmp_path: Path) -> None:
    towers = WordTowers("")
    first, computed = asked(tmp_path / "deep" / "folder", towers)
    assert computed
    second, computed = asked(tmp_path / "deep" / "folder", towers)
    assert not computed and np.abs(first - second).max() < 1e-3
    assert np.allclose(np.linalg.norm(second, axis=1), 1, atol=1e-6)
    assert [p.suffix for p in (tmp_path / "deep" / "folder").iterdir()] == [".safetensors"]


def test_other_terms_other_weights_and_other_models_are_other_files(tmp_path: Path) -> None:
    towers = WordTowers("")
    asked(tmp_path, towers)
    assert asked(tmp_path, towers, (*TERMS, "a tree"))[1]
    towers.fingerprint = "1"
    assert asked(tmp_path, towers)[1]
    towers.name = "more words"
    assert asked(tmp_path, towers)[1]


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff" * 500])
def test_a_broken_file_is_made_anew(tmp_path: Path, content: bytes) -> None:
    towers = WordTowers("")
    first, _ = asked(tmp_path, towers)
    path = feature_file(tmp_path, towers, "subject", TERMS)
    path.write_bytes(content)
    rows, computed = asked(tmp_path, towers)
    assert computed and np.array_equal(rows, first)
    assert not asked(tmp_path, towers)[1]


def test_names_stay_in_the_folder(tmp_path: Path) -> None:
    towers = WordTowers("")
    towers.name = "../../etc/passwd\0 " + "x" * 500
    path = feature_file(tmp_path, towers, "a/b", TERMS)
    assert path.parent == tmp_path and len(path.name) < 130 and ".." not in path.name


def test_without_a_place_to_keep_them_they_are_computed_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (None, tmp_path / "file"):
        towers = WordTowers("")
        assert asked(folder, towers)[1] and asked(folder, towers)[1]
