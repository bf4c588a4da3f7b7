"""The device and the dtype of a model, from the operator's settings."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from artflow.errors import ArtflowError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cuda", "mps", "cpu")
CUDA_TORCH = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
DTYPES = ("auto", "float32", "float16", "bfloat16")


def available_devices() -> list[str]:
    """The devices of this machine, best first; ``cpu`` is always there."""
    import torch

    found = ["cuda"] if torch.cuda.is_available() else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return [*found, "cpu"]


def pick_device(setting: str = "auto") -> str:
    """The device; ``auto`` is the best available. Raises ``ArtflowError("bad_device")`` if it is not available."""
    found = available_devices()
    if setting == "auto":
        return found[0]
    if setting not in DEVICES:
        raise ArtflowError("bad_device", f"device cannot be {setting!r}; allowed are {', '.join(DEVICES)}.")
    if setting not in found:
        raise ArtflowError("bad_device", f"device is {setting!r} and this machine has none; it has {', '.join(found)}.")
    return setting


def missed_gpu(device: str) -> str:
    """Why a machine with a GPU works on its CPU, and what to do; empty where there is nothing to say."""
    import torch

    if device != "cpu":
        return ""
    if os.environ.get("SPACES_ZERO_GPU"):
        return "This Space has ZeroGPU, which ArtFlow cannot use yet, so it runs on the CPU."
    if torch.version.cuda is None and torch.version.hip is None and shutil.which("nvidia-smi"):
        said = "This machine has an NVIDIA GPU and its torch is built for CPUs, so the CPU works."
        return f"{said} To change it: {CUDA_TORCH}"
    return ""


def memory_format(device: str | torch.device) -> torch.memory_format:
    """The order of convolutions' weights and inputs: channels last where it is known to be faster and right.

    On MPS it has given silently wrong results (pytorch #180984), and no gain is known.
    """
    import torch

    return torch.contiguous_format if torch.device(device).type == "mps" else torch.channels_last


def largest_batch(setting: int, device: str) -> int:
    """Rows of one call at most. On MPS batches of prompts are not trusted to be faster beyond a few."""
    return min(setting, 4) if device == "mps" else setting


def pick_dtype(setting: str, device: str) -> torch.dtype:
    """The dtype of weights and arithmetic.

    ``auto`` is float16 on a GPU, and on a CPU bfloat16 where the processor computes in it, else float32.
    Raises ``ArtflowError("bad_dtype")``, also for float16 on a CPU, which is many times slower than float32.
    """
    import torch

    if setting not in DTYPES:
        raise ArtflowError("bad_dtype", f"dtype cannot be {setting!r}; allowed are {', '.join(DTYPES)}.")
    kind = torch.device(device).type
    if setting == "auto":
        if kind != "cpu":
            return torch.float16
        return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    if setting == "float16" and kind == "cpu":
        raise ArtflowError(
            "bad_dtype",
            "dtype is 'float16' and the device is a CPU, which is slow in it; use bfloat16 or float32.",
        )
    if setting == "bfloat16" and kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ArtflowError("bad_dtype", "dtype is 'bfloat16' and this GPU has none; use float16 or float32.")
    return getattr(torch, setting)


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively (AMX or AVX512-BF16), so that it is faster than float32."""
    import torch

    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
