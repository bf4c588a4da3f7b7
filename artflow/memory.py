"""How the C library keeps memory that was let go: glibc on Linux; elsewhere nothing is changed.

By itself glibc gives each thread that computes a heap of its own, and a heap shrinks from its end only, where one small
block holds it. Pictures, jobs and tiles of ever other sizes so grow each heap to the most it has ever needed, to three
times of what is in use.
"""

from __future__ import annotations

import ctypes
import os
import sys

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
