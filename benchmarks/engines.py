"""The engine in a thread against the engine in a process of its own: the whole server, with clients in another process.

``python -m benchmarks.engines [--people 1 8 16 32] [--rounds 2] [--seconds 6]``. The model that the app starts with,
one step, clients of the webcam socket that answer each request at once. Prints pictures a second in all, the 95th
percentile of the seconds from a frame to its picture, and the ratio: what ``model.engine: auto`` is chosen by.
"""

from __future__ import annotations

import argparse
from statistics import median

from benchmarks.common import machine
from benchmarks.crowd import Crowd, Seen, measure
from benchmarks.people import PLAIN
from benchmarks.serving import served

KINDS = ("thread", "process")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="*", default=[1, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=2, help="of each engine, one after the other")
    parser.add_argument("--seconds", type=float, default=6)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[Seen]] = {}
    for _ in range(options.rounds):
        for kind in KINDS:
            with served(ARTFLOW_MODEL__ENGINE=kind) as (_pipeline, port):
                for people in options.people:
                    crowd = Crowd(port, people=people, side=256, seconds=options.seconds, settings=PLAIN | {"steps": 1})
                    found.setdefault((kind, people), []).append(measure(crowd))
    print(f"{machine()}, {options.rounds} rounds\n")
    print("| people | thread: pictures/s | p95 ms | process: pictures/s | p95 ms | process / thread |")
    print("|---|---|---|---|---|---|")
    for people in options.people:
        rates = [median(seen.pictures for seen in found[kind, people]) for kind in KINDS]
        slow = [
            median(seen.latency[1] if seen.latency else float("nan") for seen in found[kind, people]) for kind in KINDS
        ]
        cells = " | ".join(f"{rate:.1f} | {1000 * late:.0f}" for rate, late in zip(rates, slow, strict=True))
        print(f"| {people} | {cells} | {rates[1] / max(rates[0], 1e-9):.2f} |")


if __name__ == "__main__":
    main()
