"""Filling holes in photos: remove against OpenCV's ``inpaint`` (Telea; Navier-Stokes).

``python -m benchmarks.remove [FOLDER]``. Holes are random strokes and blobs on the photos of scikit-image; all fill the
same holes, and PSNR and SSIM are measured inside of them. With a folder, sheets to look at are written there: the hole,
remove, Telea, Navier-Stokes, the photo.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median

import cv2
import numpy as np
from PIL import Image
from skimage import data
from skimage.metrics import structural_similarity

from artflow.images import Picture
from artflow.modes.masks import Mask
from artflow.modes.remove import Filling, RemoveParams, make
from benchmarks.common import machine

HOLES = 40
RADIUS = 3  # of OpenCV's methods, as in its documentation
SHOWN = 256  # pixels of a photo around a hole, in a sheet

Fill = Callable[[Picture, Mask], Picture]


def removed(picture: Picture, mask: Mask) -> Picture:
    """Ours. No feather: OpenCV has none, and sees as much of the photo."""
    return make(picture, mask, RemoveParams(feather=0), Filling())[0].picture


METHODS: dict[str, Fill] = {
    "remove": removed,
    "Telea": lambda picture, mask: cv2.inpaint(picture, mask, RADIUS, cv2.INPAINT_TELEA),
    "Navier-Stokes": lambda picture, mask: cv2.inpaint(picture, mask, RADIUS, cv2.INPAINT_NS),
}


def hole(kind: str, height: int, width: int, rng: np.random.Generator) -> Mask:
    """A stroke of up to 300 pixels, or a blob of up to 120."""
    mask = np.zeros((height, width), np.uint8)
    x, y = rng.integers(60, width - 60), rng.integers(60, height - 60)
    if kind == "stroke":
        turn, points = rng.uniform(0, 2 * np.pi), [(x, y)]
        for _ in range(rng.integers(4, 10)):
            turn += rng.normal(0, 0.4)
            points.append((points[-1][0] + round(30 * np.cos(turn)), points[-1][1] + round(30 * np.sin(turn))))
        cv2.polylines(mask, [np.array(points, np.int32)], False, 255, int(rng.integers(8, 25)))
    else:
        for _ in range(3):
            centre = (int(x + rng.integers(-20, 21)), int(y + rng.integers(-20, 21)))
            cv2.ellipse(mask, centre, tuple(map(int, rng.integers(15, 41, 2))), int(rng.integers(180)), 0, 360, 255, -1)
    return mask


def scores(photo: Picture, made: Picture, mask: Mask) -> tuple[float, float]:
    """PSNR in dB and SSIM inside of the mask."""
    inside = mask > 0
    error = float(((photo[inside].astype(float) - made[inside]) ** 2).mean())
    _, similar = structural_similarity(photo, made, channel_axis=2, full=True)
    return 10 * np.log10(255**2 / max(error, 1e-6)), float(similar[inside].mean())


def sheet(photo: Picture, mask: Mask, results: list[Picture]) -> Picture:
    """The surroundings of a hole, side by side."""
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    top = int(np.clip(rows.mean() - SHOWN / 2, 0, height - SHOWN))
    left = int(np.clip(columns.mean() - SHOWN / 2, 0, width - SHOWN))
    painted = np.where(mask[..., None] > 0, np.uint8([255, 46, 147]), photo)
    return np.hstack([one[top : top + SHOWN, left : left + SHOWN] for one in (painted, *results, photo)])


def main() -> None:
    """Print tables: what is reached in holes of each kind."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    rng = np.random.default_rng(13)
    reached: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    sheets: list[Picture] = []
    for number in range(HOLES):
        photo, kind = photos[number % len(photos)], ("stroke", "blob")[number // len(photos) % 2]
        mask, results = hole(kind, *photo.shape[:2], rng), []
        broken = np.where(mask[..., None] > 0, np.uint8(127), photo)
        for name, method in METHODS.items():
            begin = time.perf_counter()
            made = method(broken, mask)
            seconds = time.perf_counter() - begin
            reached.setdefault((kind, name), []).append((*scores(photo, made, mask), seconds))
            results.append(made)
        sheets.append(sheet(photo, mask, results))
    print(f"{machine()}\n\n| holes | method | PSNR, dB | SSIM | s a hole |\n|---|---|---|---|---|")
    for (kind, name), all_of_it in reached.items():
        psnr, ssim, seconds = zip(*all_of_it, strict=True)
        row = f"| {len(psnr)} {kind}s | {name} | {fmean(psnr):.2f} | {fmean(ssim):.3f} | {median(seconds):.2f} |"
        print(row)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for start in range(0, HOLES, 8):
            Image.fromarray(np.vstack(sheets[start : start + 8])).save(folder / f"holes-{start // 8}.png")


if __name__ == "__main__":
    main()
