"""How long a live canvas stands still beside each kind of job, and what each costs the other.

``python -m benchmarks.gap [job ...]``. One person draws with one step, in another process; the jobs run in this one,
first by themselves and then beside the person, short ones again and again for `LEAST` seconds. The model that ships
with the app; each job has been run once before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from artflow.pipeline import Pipeline
from benchmarks.common import machine, scenes
from benchmarks.people import People
from benchmarks.serving import served

LEAST = 2.0
PROMPT = {"prompt": "a red apple on a white background", "seed": 1}


def jobs(pipeline: Pipeline) -> dict[str, Callable[[], object]]:
    """Each kind of job, on a picture of 512 x 512."""
    photo = scenes(1, 512)[0]
    mask = np.zeros((512, 512), np.uint8)
    mask[150:350, 150:350] = 255
    large = {"width": 1024, "height": 1024, "hires_scale": 2, "hires_denoise": 0.3}
    return {
        "text": partial(pipeline.generate, PROMPT | {"batch_count": 4}),
        "text 1024 x 1024, HiresFix 2": partial(pipeline.generate, PROMPT | large),
        "inpaint": partial(pipeline.inpaint, photo, mask, PROMPT),
        "outpaint": partial(pipeline.outpaint, photo, PROMPT | {"right": 128}),
        "upscale 2x": partial(pipeline.upscale, photo, {}),
        "upscale 2x, redrawn": partial(pipeline.upscale, photo, PROMPT | {"strength": 0.3}),
        "interrogate": partial(pipeline.interrogate, photo, "best", "embedded"),
    }


def mean_seconds(job: Callable[[], object], least: float) -> float:
    """Mean seconds of a job that is run until ``least`` seconds are over, once at least."""
    begin, count = time.perf_counter(), 0
    while not count or time.perf_counter() - begin < least:
        job()
        count += 1
    return (time.perf_counter() - begin) / count


def main() -> None:
    """Print a table."""
    device = machine()
    with served() as (pipeline, port):
        kinds = jobs(pipeline)
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("jobs", nargs="*", default=list(kinds), metavar="job", help=", ".join(kinds))
        print(f"{pipeline.spec.title}, {device}\n")
        print("| beside | longest gap s | pictures/s | job s | job alone s |\n|---|---|---|---|---|")
        with People(port, "canvas") as people:
            seen = people.during(LEAST)
        print(f"| nothing | {seen.longest:.2f} | {seen.pictures:.1f} | | |", flush=True)
        for name in parser.parse_args().jobs:
            kinds[name]()
            alone = mean_seconds(kinds[name], LEAST / 2)
            with People(port, "canvas") as people:
                people.begin()
                beside = mean_seconds(kinds[name], LEAST)
                seen = people.end()
            print(f"| {name} | {seen.longest:.2f} | {seen.pictures:.1f} | {beside:.2f} | {alone:.2f} |", flush=True)


if __name__ == "__main__":
    main()
