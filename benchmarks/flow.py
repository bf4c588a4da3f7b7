"""A client that answers every request for a frame at once, as one that plays a video file does.

``python -m benchmarks.flow [--seconds 5] [--only video]``: uploads for each picture, pictures a second against the
same work on the canvas (where every frame is answered), and latency from sending a frame to its picture. The whole app
with the embedded model; 512 px frames; the clients in another process, over 80 ms by a proxy there. Aims: at most 1.3
uploads a picture, 80 % of the canvas, p95 under three frames; 40 such clients as many pictures as paced ones; 40
pictures/s over 80 ms where the engine can give them; a still scene decodes at most 40 frames/s. With ``--cost`` calls
wait so many ms and compute nothing, as beside a GPU.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch

from artflow.engine.model_pool import ModelPool
from artflow.models.catalog import load_catalog
from benchmarks.common import machine
from benchmarks.crowd import Crowd, Seen, measure
from benchmarks.host import WaitingRunner, waiting_catalog, waiting_runner
from tests.api.client import serve

FAR = 0.08  # seconds of round trip


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--only", default="", help="a part of the row's name")
    parser.add_argument("--cost", type=float, default=0, help="ms of a call that only waits; 0: the embedded model")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    WaitingRunner.pause = options.cost / 1000
    with ExitStack() as stack:
        catalog = load_catalog()
        if options.cost:
            catalog = waiting_catalog()
            stack.enter_context(patch.object(ModelPool, "make_runner", waiting_runner))
        served = stack.enter_context(serve(catalog, ARTFLOW_MODEL__DTYPE="auto"))
        served.pipeline.load().info.result()
        print(f"{machine()}, {served.pipeline.spec.id}\n")
        print("| client | uploads/s | a picture | pictures/s | of the canvas | drops/s | ms | p95 | in frames |")
        print("|---|---|---|---|---|---|---|---|---|")
        canvas: dict[int, float] = {}
        for name, crowd in rows(served.port, options.seconds):
            steps = crowd.settings["steps"]
            if options.only in name or (crowd.mode == "canvas" and crowd.people == 1):
                seen = measure(crowd)
                if crowd.mode == "canvas":
                    canvas.setdefault(steps, seen.pictures)
                print(row(name, seen, canvas.get(steps)), flush=True)


def rows(port: int, seconds: float) -> list[tuple[str, Crowd]]:
    """What is measured, by its name."""

    def crowd(steps: int = 1, **more: Any) -> Crowd:
        work = {"steps": steps, "strength": 0.55, "priority": "quality"}
        return Crowd(port, seconds=seconds, settings=work | more.pop("settings", {}), **more)

    same = {"enable_similar_image_filter": True}
    near = [
        ("canvas, 1 step", crowd(mode="canvas")),
        ("video, 1 step", crowd()),
        ("canvas, 4 steps", crowd(4, mode="canvas")),
        ("video, 4 steps", crowd(4)),
        ("video, 1 step, older protocol", crowd(older=True)),
        ("video, 4 steps, older protocol", crowd(4, older=True)),
        ("video, still scene", crowd(still=True, settings=same)),
        ("camera at 30/s", crowd(fps=30)),
    ]
    far = [(f"{name}, 80 ms", replace(crowd, trip=FAR)) for name, crowd in near if crowd.mode != "canvas"]
    many = [
        ("40 cameras at 30/s", crowd(people=40, fps=30, warm_up=4)),
        ("40 videos", crowd(people=40, warm_up=4)),
    ]
    return near + far + many


def row(name: str, seen: Seen, canvas: float | None) -> str:
    """One line of the table."""
    share = f"{seen.pictures / canvas:.0%}" if canvas else ""
    latency = ("", "", "")
    if seen.latency is not None:
        median, slow = seen.latency
        latency = (f"{1000 * median:.0f}", f"{1000 * slow:.0f}", f"{slow * seen.pictures:.1f}")
    cells = [f"{seen.uploads:.1f}", f"{seen.uploads_a_picture:.2f}", f"{seen.pictures:.1f}", share, f"{seen.drops:.1f}"]
    return " | ".join([f"| {name}", *cells, *latency]) + " |"


if __name__ == "__main__":
    main()
