"""Files of ``models/checkpoints`` are models to choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from artflow.models.catalog import Catalog, ModelSpec, Source
from artflow.models.checkpoints import with_checkpoints


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(models=[ModelSpec(id="own", source=Source(hub="some/where"))])


def put(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.zeros(1, np.float16) for name in names}, path)


def test_each_file_is_a_model_of_its_own_size(catalog: Catalog, tmp_path: Path) -> None:
    put(tmp_path / "mine.safetensors", "cond_stage_model.weight")
    put(tmp_path / "large" / "theirs v2.safetensors", "conditioner.embedders.1.model.ln_final.weight")
    models = with_checkpoints(catalog, tmp_path).models
    assert [(model.id, model.width) for model in models] == [("own", 512), ("large/theirs v2", 1024), ("mine", 512)]
    assert models[2].title == "mine" and models[2].source.file == tmp_path / "mine.safetensors"


def test_what_is_no_checkpoint_is_left_out_and_the_log_says_why(
    catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "own.safetensors", "cond_stage_model.weight")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00\x01")
    (tmp_path / "old.ckpt").write_bytes(b"")
    (tmp_path / "words.txt").write_text("words")
    assert with_checkpoints(catalog, tmp_path) == catalog
    said = "\n".join(caplog.messages)
    assert "own.safetensors is left out: a model is called own already" in said
    assert "cut.safetensors is left out: it cannot be read" in said
    assert "old.ckpt is left out: pickled weights can run code" in said


def test_without_the_folder_there_is_the_catalogue_alone(catalog: Catalog, tmp_path: Path) -> None:
    assert with_checkpoints(catalog, tmp_path / "none") == catalog
