"""What the C library keeps; in processes of their own, because it is set once in the life of one."""

import ctypes
import os
import subprocess
import sys

import pytest

glibc = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_info")
pytestmark = pytest.mark.skipif(not glibc, reason="what is set is glibc's")

HEAPS = """
import ctypes, re, threading
import artflow
inside = threading.Barrier(8)
def draw():
    block = libc.malloc(100_000)
    inside.wait()
    libc.free(block)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
threads = [threading.Thread(target=draw) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fopen.restype, libc.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
out = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, out)
libc.fclose(out)
"""

KEPT = """
import ctypes, os
import artflow
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
def large():
    block = libc.malloc(9 << 20)
    libc.memset(block, 1, 9 << 20)
    return block
libc.free(large())  # from then on glibc would take such blocks from the heap
before = megabytes()
blocks = []
for _ in range(16):
    blocks.append(large())
    libc.malloc(200_000)  # what stays, in between; not touched
for block in blocks: libc.free(block)
print(megabytes() - before)
"""


def said(code: str, **environ: str) -> str:
    """What a program prints, with nothing of malloc in its environment but this."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=rest | environ, capture_output=True, text=True, check=True
    ).stdout


def test_all_threads_draw_on_one_heap() -> None:
    assert said(HEAPS).count("<heap nr=") == 1


def test_what_the_operator_has_set_stands() -> None:
    assert said(HEAPS, MALLOC_ARENA_MAX="3").count("<heap nr=") == 3


def test_large_blocks_go_back_whatever_lies_between_them() -> None:
    assert float(said(KEPT)) < 20  # MB, of 151
