"""The similar-image filter: what it saves on a still scene, and what a decision costs.

``python -m benchmarks.filter``. The still scene is a picture with a camera's noise, new in every frame.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from artflow.engine.similarity import SimilarityFilter
from artflow.images import Picture
from benchmarks.common import machine, scenes

FRAMES = 1000
NOISE = 3.0  # grey levels, standard deviation: a webcam indoors


def main() -> None:
    """Print a table."""
    print(f"{machine()}\n\n| scene, 512 px | frames saved | ms a decision |\n|---|---|---|")
    still = scenes(1, 512)[0]
    moving = scenes(16, 512)
    random = np.random.default_rng(1)

    def noisy(picture: Picture) -> Picture:
        return np.clip(picture + random.normal(0, NOISE, picture.shape), 0, 255).astype(np.uint8)

    frames = [noisy(still) for _ in range(40)]
    for name, feed in (("still, with noise", frames), ("moving", moving)):
        chosen, passed, seconds = SimilarityFilter(0.98, 10), 0, []
        for i in range(FRAMES):
            begin = time.perf_counter()
            passed += chosen.passes(feed[i % len(feed)])
            seconds.append(time.perf_counter() - begin)
        print(f"| {name} | {100 * (1 - passed / FRAMES):.1f} % | {median(seconds) * 1000:.2f} |")


if __name__ == "__main__":
    main()
