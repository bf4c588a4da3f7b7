"""The server around the networks: frames a second shown to many cameras, where a model call costs a wait and no work.

``python -m benchmarks.host [--cost 1] [--seconds 5]``. Each session is a camera of 30 frames a second and 512 px; the
clients run in a process of their own. What is measured is sockets, JPEG in and out, engine and scheduling. Aims: never
fewer pictures with more people, at least 900 frames/s of 32 sessions, p95 under 200 ms.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import torch

from artflow.engine.model_pool import ModelPool, PooledModel
from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.images import Picture
from artflow.models.catalog import Catalog, ModelSpec
from artflow.models.loader import load_model
from benchmarks.common import apart, machine, scenes
from benchmarks.crowd import Crowd, measure
from tests.api.client import serve
from tests.support.models import tiny_folder

SIDE, FPS = 512, 30
SETTINGS = {"steps": 1, "strength": 0.5, "enable_similar_image_filter": False, "priority": "latency"}


class WaitingRunner(Runner):
    """Waits ``pause`` seconds a call, as for a GPU, and always shows the same scene."""

    pause = 0.001
    scene = scenes(1, SIDE)[0]

    def encode(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Zeros; the pictures are gathered as for an upload."""
        np.stack(pictures)
        height, width, _ = pictures[0].shape
        scale = self.model.vae_scale
        return torch.zeros(len(pictures), self.model.latent_channels, height // scale, width // scale)

    def predict(self, rows: Sequence[Row]) -> torch.Tensor:
        """No noise found, after a while."""
        latents = torch.stack([row.latent for row in rows])
        time.sleep(self.pause)
        return torch.zeros_like(latents)

    def decode(self, latents: torch.Tensor) -> list[Picture]:
        """New memory with the scene in it, as what comes from a GPU."""
        out = np.empty((len(latents), SIDE, SIDE, 3), np.uint8)
        out[:] = self.scene
        return list(out)


def waiting_runner(pool: ModelPool, loading: PooledModel) -> WaitingRunner:
    """In place of `ModelPool.make_runner`."""
    return WaitingRunner(apart(lambda: load_model(loading.spec, device="cpu", dtype=torch.float32)))


def waiting_catalog() -> Catalog:
    """One model for such a runner."""
    return Catalog(models=[ModelSpec(id="waits", source={"folder": str(tiny_folder())}, width=SIDE, height=SIDE)])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cost", type=float, default=1.0, help="ms of a model call")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--people", type=int, nargs="*", default=[1, 8, 16, 32])
    options = parser.parse_args()
    WaitingRunner.pause = options.cost / 1000
    torch.set_num_threads(1)
    with patch.object(ModelPool, "make_runner", waiting_runner), serve(waiting_catalog()) as served:
        engine = served.pipeline.client.engine
        print(f"{machine()}, {options.cost:g} ms a call, {SIDE} px\n")
        print("| sessions | offered/s | shown/s | dropped/s | rows a call | ms | p95 | CPU ms a frame | stage |")
        print("|---|---|---|---|---|---|---|---|---|")
        marks: list[list[float]] = []

        def mark() -> None:
            marks.append([engine.metrics.calls, engine.metrics.rows, _worked()])

        for people in options.people:
            crowd = Crowd(served.port, people=people, fps=FPS, side=SIDE, seconds=options.seconds, settings=SETTINGS)
            seen = measure(crowd, mark)
            mark()
            calls, rows, worked = (b - a for a, b in zip(*marks[-2:]))
            median, slow = (f"{1000 * seconds:.0f}" for seconds in seen.latency or (float("nan"),) * 2)
            frames = seen.pictures * options.seconds
            print(
                f"| {people} | {people * FPS} | {seen.pictures:.0f} | {seen.drops:.0f} | {rows / max(calls, 1):.1f} "
                f"| {median} | {slow} | {1000 * worked / max(frames, 1):.1f} | {', '.join(sorted(seen.stages))} |",
                flush=True,
            )


def _worked() -> float:
    """Seconds of processor time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
