"""Device and number format out of the settings."""

from __future__ import annotations

import pytest
import torch

from artflow.errors import ArtflowError
from artflow.models import dtypes
from artflow.models.dtypes import pick_device, pick_dtype


@pytest.fixture
def devices(monkeypatch):
    def have(*names: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return have


def test_auto_is_the_best_device_there_is(devices):
    devices()
    assert pick_device("auto") == "cpu"
    devices("mps")
    assert pick_device("auto") == "mps"
    devices("cuda", "mps")
    assert pick_device() == "cuda"
    assert pick_device("cpu") == "cpu"


def test_a_device_that_is_not_there_is_refused(devices):
    devices("mps")
    with pytest.raises(ArtflowError, match="'cuda' and this machine has none; it has mps, cpu"):
        pick_device("cuda")
    with pytest.raises(ArtflowError, match="cannot be 'tpu'; allowed are auto, cuda, mps, cpu"):
        pick_device("tpu")


def test_auto_is_half_precision_where_it_is_fast(monkeypatch):
    assert pick_dtype("auto", "cuda") == pick_dtype("auto", "mps") == torch.float16
    monkeypatch.setattr(dtypes, "cpu_has_bfloat16", lambda: True)
    assert pick_dtype("auto", "cpu") == torch.bfloat16
    monkeypatch.setattr(dtypes, "cpu_has_bfloat16", lambda: False)
    assert pick_dtype("auto", "cpu") == torch.float32


@pytest.mark.parametrize(
    ("features", "native"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False)],
)
def test_bfloat16_needs_a_processor_that_multiplies_it(monkeypatch, features, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert dtypes.cpu_has_bfloat16() is native


def test_a_stated_format_is_taken_or_refused(monkeypatch):
    assert pick_dtype("float32", "cuda") == torch.float32
    assert pick_dtype("bfloat16", "cpu") == torch.bfloat16
    with pytest.raises(ArtflowError, match=r"'float16' and the device is a CPU.*use bfloat16 or float32"):
        pick_dtype("float16", "cpu")
    with pytest.raises(ArtflowError, match="cannot be 'int8'; allowed are auto, float32, float16, bfloat16"):
        pick_dtype("int8", "cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(ArtflowError, match="this GPU has none"):
        pick_dtype("bfloat16", "cuda")


@pytest.mark.parametrize(
    ("device", "environ", "tool", "words"),
    [
        ("cpu", {}, None, ""),
        ("cpu", {}, "/usr/bin/nvidia-smi", "pip install --force-reinstall torch"),
        ("cpu", {"SPACES_ZERO_GPU": "1"}, None, "ZeroGPU"),
        ("cuda", {"SPACES_ZERO_GPU": "1"}, "/usr/bin/nvidia-smi", ""),
    ],
)
def test_a_gpu_that_is_not_used_is_told(monkeypatch, device: str, environ: dict, tool: str | None, words: str) -> None:
    monkeypatch.setattr(dtypes.shutil, "which", lambda name: tool)
    monkeypatch.setattr(torch.version, "cuda", None)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    told = dtypes.missed_gpu(device)
    assert words in told and bool(told) is bool(words)


def test_what_is_not_trusted_on_mps() -> None:
    assert dtypes.memory_format("mps") == torch.contiguous_format
    assert dtypes.memory_format("cpu") == dtypes.memory_format("cuda") == torch.channels_last
    assert [dtypes.largest_batch(16, device) for device in ("mps", "cuda", "cpu")] == [4, 16, 16]
