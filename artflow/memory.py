"""Memory: what is in use, what can be given back, and how the C library keeps what was let go.

The last is glibc's on Linux; elsewhere nothing is changed.

By itself glibc gives each thread that computes a heap of its own, and a heap shrinks from its end only, where one small
block holds it. Pictures, jobs and tiles of ever other sizes so grow each heap to the most it has ever needed, to three
times of what is in use.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys

logger = logging.getLogger(__name__)

ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -3, -1  # of mallopt, as malloc.h numbers them

LARGE = 8 << 20  # bytes; a layer of one live picture of 128 x 128 is half of it
KEPT = 64 << 20  # bytes at the end of the heap, which the next call needs again


def keep_little() -> None:
    """One heap for all threads, and blocks of their own for what is large, which go back when they are freed.

    For before the first thread computes and torch is imported. What the operator has set of this in the environment
    stands.
    """
    # Large blocks in pages of 2 MB, where the system has them: else each of their pages of 4 KB is a fault of its own.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return
    for name, parameter, value in (
        ("MALLOC_ARENA_MAX", ARENA_MAX, 1),
        ("MALLOC_MMAP_THRESHOLD_", MMAP_THRESHOLD, LARGE),
        ("MALLOC_TRIM_THRESHOLD_", TRIM_THRESHOLD, KEPT),
    ):
        if name not in os.environ:
            mallopt(parameter, value)


def in_use() -> dict[str, float]:
    """MiB in use: ``process``, and with a CUDA GPU ``gpu`` (tensors), ``gpu_reserved``, ``gpu_free``, ``gpu_total``."""
    import psutil

    found = {"process": psutil.Process().memory_info().rss / 2**20}
    torch = sys.modules.get("torch")  # without it nothing of ours can be on a GPU
    if torch is not None and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        held, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        amounts = {"gpu": held, "gpu_reserved": reserved, "gpu_free": free, "gpu_total": total}
        found |= {name: amount / 2**20 for name, amount in amounts.items()}
    return found


def log(when: str = "") -> dict[str, float]:
    """Write what is `in_use` into the log, with ``when`` as its text, and return it."""
    found = in_use()
    logger.info(when or "memory in use", extra={f"{name}_mb": round(amount) for name, amount in found.items()})
    return found


def cleanup() -> dict[str, float]:
    """Give back what nobody uses any more, of this process and of its part of the GPU; returns what is `in_use` then.

    It stands still for that long (a second or less): not for the live path.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    return in_use()
