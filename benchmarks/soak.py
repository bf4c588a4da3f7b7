"""Whether anything grows: people come and go beside jobs, with ever new prompts and sizes.

``python -m benchmarks.soak [--minutes 30] [--people 16]``. The whole server with the model that ships with the app, its
clients in another process. Prints the process's memory, what of it is in use (the rest is code, and what the C library
keeps for later), threads, open files and sessions twice a minute, the growth after the third minute (aim: under 2 %),
and what is left when all have gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from artflow.errors import ArtflowError
from artflow.pipeline import Pipeline
from benchmarks.common import machine, scenes
from benchmarks.people import PLAIN, Person
from benchmarks.serving import served

EVERY = 30.0  # seconds between two lines
STEADY = 180.0  # seconds after which memory should grow no more


def main() -> None:
    """Print a line twice a minute, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--visit", type=int, metavar="PORT", help="be the clients of a server")
    options = parser.parse_args()
    if options.visit:
        asyncio.run(visitors(options.visit, options.people))
        return
    device = machine()
    with served() as (pipeline, port):
        print(f"{pipeline.spec.title}, {device}, {options.people} people\n")
        print("| minute | MB | in use | threads | files | sessions | rows |\n|---|---|---|---|---|---|---|")
        before = state(pipeline)
        command = [sys.executable, "-m", "benchmarks.soak", "--visit", str(port), "--people", str(options.people)]
        ended = threading.Event()
        worker = threading.Thread(target=jobs, args=(pipeline, ended))
        with subprocess.Popen(command) as clients:
            worker.start()
            begin, steady = time.monotonic(), 0.0
            while (elapsed := time.monotonic() - begin) < 60 * options.minutes:
                time.sleep(EVERY)
                now = state(pipeline)
                print(line(f"{elapsed / 60 + EVERY / 60:.1f}", now), flush=True)
                steady = steady or (now["MB"] if elapsed + EVERY >= STEADY else 0.0)
            grown = now["MB"] / steady - 1 if steady else float("nan")
            clients.terminate()
        ended.set()
        worker.join()
        time.sleep(5)
        gc.collect()
        print(line("all gone", state(pipeline)), line("at first", before), sep="\n")
        print(f"\nGrowth after the third minute: {grown:+.1%}")


def state(pipeline: Pipeline) -> dict[str, float]:
    """What the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "MB": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "in use": in_use() / 1e6,
        "threads": threading.active_count(),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "sessions": pipeline.metrics()["sessions"],
        "rows": pipeline.metrics()["rows"],
    }


class _Mallinfo(ctypes.Structure):
    """What ``mallinfo2`` of glibc returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def in_use() -> float:
    """The bytes that were taken from the C library's allocator and not given back; NaN where it does not say."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return float("nan")
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return float(found.uordblks + found.hblkhd)


def line(when: str, state: dict[str, float]) -> str:
    """One row of the table."""
    return " | ".join([f"| {when}", *(f"{value:.0f}" for value in state.values())]) + " |"


def jobs(pipeline: Pipeline, ended: threading.Event) -> None:
    """One job after the other, each another."""
    dice = random.Random(0)
    photo = scenes(1, 256)[0]
    mask = np.zeros((256, 256), np.uint8)
    mask[80:160, 80:160] = 255
    while not ended.is_set():
        size = {"width": dice.choice([128, 192, 256]), "height": dice.choice([128, 192, 256])}
        params: dict[str, Any] = {"prompt": f"a fox number {dice.random()}", "seed": dice.randrange(2**32)}
        kind = dice.randrange(3)
        with contextlib.suppress(ArtflowError):
            if kind == 0:
                pipeline.generate(params | size | {"batch_count": dice.choice([1, 4])})
            elif kind == 1:
                pipeline.inpaint(photo, mask, params)
            else:
                pipeline.upscale(photo, {})


async def visitors(port: int, people: int) -> None:
    """People who stay for a few seconds each, for ever."""
    await asyncio.gather(*(visits(port, number) for number in range(people)))


async def visits(port: int, number: int) -> None:
    """One of them, again and again."""
    dice = random.Random(number)
    while True:
        settings = PLAIN | {
            "prompt": f"a cat number {dice.random()}",
            "seed": dice.randrange(2**32),
            "steps": dice.choice([1, 2, 4]),
            "width": dice.choice([128, 192, 256]),
            "height": dice.choice([128, 192, 256]),
            "cfg_type": dice.choice(["none", "self", "full"]),
            "guidance_scale": 1.4,
        }
        live = Person(number).live(
            port, dice.choice(["realtime", "canvas", "inpaint"]), dice.choice([1, 2, 4]), settings
        )
        with contextlib.suppress(TimeoutError, OSError):
            await asyncio.wait_for(live, dice.uniform(3, 15))


if __name__ == "__main__":
    main()
