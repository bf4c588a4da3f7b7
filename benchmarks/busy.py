"""Live pictures a second on a quiet machine and beside other work: the whole server, its clients in another process.

``python -m benchmarks.busy [--seconds 5] [case ...]``. Sockets, JPEG, engine and the model that ships with the app; the
clients share the cores. An engine starves when its threads are taken off a core in the middle of a call, so the other
work is a Python loop on one core (a browser on the same machine is one), a program that computes with torch on every
core, and a large job of this app.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from artflow.job_context import JobContext
from artflow.pipeline import Pipeline
from benchmarks.common import machine
from benchmarks.people import People
from benchmarks.serving import program, served

WARM_UP = 2.0  # seconds in which the engine finds out what suits the case
LOOP = "print(flush=True)\nwhile True: pass"
TORCH = """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained("artflow/models/pocket/unet", torch_dtype=torch.bfloat16).eval()
rows = torch.randn(1, unet.config.in_channels, 16, 16).bfloat16()
text = torch.randn(1, 24, unet.config.cross_attention_dim).bfloat16()
print(flush=True)
with torch.inference_mode():
    while True:
        unet(rows, torch.tensor([500.0]), encoder_hidden_states=text)
"""
JOB = {"prompt": "a castle on grass", "width": 512, "height": 512, "batch_count": 16, "steps": 20, "seed": 1}


@contextmanager
def job(pipeline: Pipeline) -> Iterator[None]:
    """A text job of many large pictures, again and again."""
    context = JobContext()

    def work() -> None:
        while not context.cancelled.is_set():
            pipeline.generate(JOB, context)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        context.cancelled.set()
        thread.join()


Beside = Callable[[Pipeline], AbstractContextManager[Any]]
CASES: dict[str, tuple[str, str, int, Beside]] = {
    "one": ("one person, canvas", "canvas", 1, lambda _: nullcontext()),
    "eight": ("eight people, webcam", "realtime", 8, lambda _: nullcontext()),
    "loop": ("one, beside a busy core", "canvas", 1, lambda _: program(LOOP)),
    "torch": ("one, beside a torch program", "canvas", 1, lambda _: program(TORCH)),
    "job": ("one, beside a large text job", "canvas", 1, job),
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="case", help=", ".join(CASES))
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    device = machine()
    with served() as (pipeline, port):
        print(f"{pipeline.spec.title}, {device}\n")
        print("| case | pictures/s | latency ms, median | p95 | longest gap ms |\n|---|---|---|---|---|")
        for name in options.cases:
            words, mode, count, beside = CASES[name]
            with beside(pipeline), People(port, mode, count) as people:
                time.sleep(WARM_UP)
                seen = people.during(options.seconds)
            times = " | ".join(f"{1000 * value:.0f}" for value in seen[1:])
            print(f"| {words} | {seen.pictures:.1f} | {times} |", flush=True)
        print(f"\nThreads by model, network and pixels of a call: {pipeline.threads}")


if __name__ == "__main__":
    main()
