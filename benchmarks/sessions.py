"""Many people on one copy of the weights: frames a second in all, p95 latency, memory a session.

``python -m benchmarks.sessions [--model pocket] [--seconds 4]``. Every session has its own prompt, seed and pictures
and always a frame on the way and one waiting, as the browser keeps it.
"""

from __future__ import annotations

import argparse
import resource
import threading
import time
from itertools import cycle

import numpy as np
import torch

from artflow.engine.engine import Engine
from artflow.engine.params import LiveParams
from artflow.engine.runner import Runner
from artflow.engine.session import LiveSession
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import Result, StreamPolicy
from benchmarks.common import apart, machine, scenes
from benchmarks.models import subject

COUNTS = (1, 2, 4, 8, 16)
POLICY = StreamPolicy("benchmark", pipelined=True, latest_only=False)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    chosen = apart(lambda: subject(options.model))
    runner = apart(chosen.runner)
    print(f"{machine()}, {chosen.name} at {chosen.side} px, {runner.model.memory_bytes / 1e6:.0f} MB of weights\n")
    print("| sessions | frames/s in all | vs one | p95 latency | rows a call | MB a session |")
    print("|---|---|---|---|---|---|")
    run(runner, chosen.side, 16, 2)
    rounds = [
        {count: run(runner, chosen.side, count, options.seconds) for count in COUNTS} for _ in range(options.rounds)
    ]
    for count in COUNTS:
        fps, latency, rows, memory = np.median([r[count] for r in rounds], axis=0)
        ratio = np.median([r[count][0] / r[1][0] for r in rounds])
        print(f"| {count} | {fps:.1f} | {ratio:.2f} x | {latency * 1000:.0f} ms | {rows:.1f} | {memory:.1f} |")


def run(runner: Runner, side: int, count: int, seconds: float) -> tuple[float, float, float, float]:
    """Frames/s, p95 latency in seconds, rows a call, and MB that each session added."""
    before = _memory()
    engine = Engine()
    people = [Person(engine, runner, side, i) for i in range(count)]
    for person in people:
        person.start()
    time.sleep(0.3 * seconds)  # until every prompt is encoded and every pipe is full
    frames, calls, rows = sum(p.frames for p in people), engine.metrics.calls, engine.metrics.rows
    for person in people:
        person.latencies.clear()
    begin = time.perf_counter()
    time.sleep(seconds)
    elapsed = time.perf_counter() - begin
    frames, calls, rows = (
        sum(p.frames for p in people) - frames,
        engine.metrics.calls - calls,
        engine.metrics.rows - rows,
    )
    latencies = [latency for person in people for latency in person.latencies]
    used = max(_memory() - before, 0) / count
    for person in people:
        person.session.close()
    engine.close()
    return frames / elapsed, float(np.percentile(latencies, 95)), rows / max(calls, 1), used


class Person:
    """Sends the next frame when one comes back; one on the way and one waiting."""

    def __init__(self, engine: Engine, runner: Runner, side: int, number: int) -> None:
        params = LiveParams(
            prompt=f"a cat, number {number}", seed=number, steps=1, strength=0.6, width=side, height=side,
            priority="quality",
        )  # fmt: skip
        self.frames = 0
        self.latencies: list[float] = []
        self._feed = cycle(scenes(8, side, seed=number))
        self._free = threading.Semaphore(2)
        self.session = LiveStream(runner.model.info, params, POLICY, self._answered)
        engine.add(LiveSession.of(self.session, runner))

    def start(self) -> None:
        """Begin to send, from a thread of one's own."""
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        while not self.session.closed:
            if self._free.acquire(timeout=0.5) and not self.session.closed:
                self.session.submit(next(self._feed))

    def _answered(self, result: Result) -> None:
        self.frames += result.picture is not None
        self.latencies.append(result.latency)
        self._free.release()


def _memory() -> float:
    """MB in use: of the GPU where there is one, else this process's peak."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
