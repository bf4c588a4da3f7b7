"""What the machine has."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_background(work: Callable[[], T]) -> T:
    """The result of ``work``, which lets all other threads go first; waits for it.

    In a thread that ends afterwards, since none can take back a low priority.
    """

    def last() -> T:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="background") as thread:
        return thread.submit(last).result()
