"""Whether a model fits, by its files against what is free."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from artflow.errors import ArtflowError
from artflow.models import room
from artflow.models.room import check_room, free_memory, weights_in_memory

GB = 10**9
FULL = {"unet/model.safetensors": 4 * GB, "unet/config.json": 10**6, "model.ckpt": 9 * GB}


def test_weights_count_as_what_they_become() -> None:
    assert weights_in_memory(FULL, torch.float32) == 4 * GB
    assert weights_in_memory(FULL, torch.float16) == 2 * GB
    assert weights_in_memory({"unet/model.fp16.safetensors": GB}, torch.float32) == 2 * GB
    assert weights_in_memory({"unet/model.fp16.safetensors": GB}, torch.bfloat16) == GB
    shards = {f"unet/model.fp16-0000{n}-of-00002.safetensors": GB for n in (1, 2)}
    assert weights_in_memory(shards, torch.float16) == 2 * GB


def test_what_does_not_fit_is_one_sentence_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda device: 3.1 * GB)
    with pytest.raises(ArtflowError, match=r"SDXL needs about 4\.8 GB of memory, and 3\.1 GB are free") as raised:
        check_room("SDXL", FULL, torch.float32, "cpu")
    assert raised.value.code == "not_enough_memory"
    with pytest.raises(ArtflowError, match="GB of GPU memory"):
        check_room("SDXL", FULL, torch.float32, "cuda:0")
    check_room("SDXL", FULL, torch.float16, "cpu")


def test_where_it_is_not_known_nothing_is_refused() -> None:
    assert free_memory("mps") is None
    check_room("SDXL", FULL, torch.float32, "mps")


def test_a_containers_limit_counts_without_its_cache(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("2000000\n")
    (tmp_path / "memory.current").write_text("1500000\n")
    (tmp_path / "memory.stat").write_text("anon 1000000\ninactive_file 300000\nactive_file 100000\n")
    assert free_memory("cpu", tmp_path) == 900_000, "files that were read twice, as a model's, are cache, too"


@pytest.mark.parametrize("limit", ["max", None])
def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path, limit: str | None) -> None:
    if limit:
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("5")
    free = free_memory("cpu", tmp_path)
    assert free == pytest.approx(psutil.virtual_memory().available, rel=0.5)
