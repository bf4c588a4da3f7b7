"""Teaches the photo classifier to tell photos, paintings and drawings apart: ``python training/media.py PICTURES OUT``.

A logistic regression on the network's own features, 3 x 1281 numbers. ``PICTURES`` has a folder for each of "photo",
"painting" and "drawing" (icons, cartoons, charts, what the embedded model draws), each with ``learn`` and ``held_out``.
Where those pictures came from, and the hits, are in `artflow/models/efficientnet_lite0/README.md`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from artflow.models.classifier import MEDIA, EfficientNetLite0, load_network, views

STRENGTH = 3e-4  # of the penalty on the weights
ROUNDS = 60


def copies(path: Path, dice: np.random.Generator) -> list[Image.Image]:
    """The picture, on white if it is see-through; and on any ground, resized, darkened and compressed."""
    found = []
    for chance in (False, True):
        image = Image.open(path).convert("RGBA")
        ground = tuple(int(value) for value in dice.integers(0, 256, 3)) if chance else (255, 255, 255)
        plain = Image.new("RGBA", image.size, (*ground, 255))
        plain.alpha_composite(image)
        image = plain.convert("RGB")
        if chance:
            side = int(dice.choice([96, 128, 192, 256, 384, 512]))
            factor = side / min(image.size)
            image = image.resize([max(8, round(length * factor)) for length in image.size], Image.Resampling.BICUBIC)
            gain = dice.uniform(0.5, 1.15)
            image = image.point([min(255, int(value * gain)) for value in range(256)] * 3)
            image.save(held := io.BytesIO(), "JPEG", quality=int(dice.integers(60, 96)))
            image = Image.open(held)
        found.append(image)
    return found


@torch.inference_mode()
def features(network: EfficientNetLite0, image: Image.Image) -> Tensor:
    """Those of both looks, of shape (2, 1280)."""
    return torch.stack([network(view)[0].mean((1, 2)) for view in views(image, "cpu")])


def gathered(network: EfficientNetLite0, folder: Path, part: str) -> tuple[Tensor, Tensor, list[str]]:
    """Features (n, 2, 1280), the numbers of their media, and file names."""
    dice, rows, labels, names = np.random.default_rng(0), [], [], []
    for label, medium in enumerate(MEDIA):
        for path in sorted((folder / medium.removeprefix("a ") / part).iterdir()):
            images = copies(path, dice)
            for image in images if part == "learn" else images[:1]:
                rows.append(features(network, image))
                labels.append(label)
                names.append(path.name)
    return torch.stack(rows), torch.tensor(labels), names


def learned(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (3, 1280) and biases (3) of the regression; each medium counts the same."""
    weight, bias = (torch.zeros(*shape, requires_grad=True) for shape in ((len(MEDIA), rows.shape[-1]), (len(MEDIA),)))
    share = 1 / labels.bincount().float()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(rows @ weight.T + bias, labels, share)
        value = value + STRENGTH * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def main(pictures: Path, out: Path) -> None:
    """Learn, report the hits on what was held out, and write the weights."""
    torch.set_num_threads(1)
    network = load_network("cpu")
    rows, labels, _ = gathered(network, pictures, "learn")
    weight, bias = learned(rows.flatten(0, 1), labels.repeat_interleave(2))
    rows, labels, names = gathered(network, pictures, "held_out")
    shares = (rows @ weight.T + bias).softmax(-1).mean(1)
    for label, medium in enumerate(MEDIA):
        mine = labels == label
        hits = shares[mine].argmax(-1) == label
        print(f"{medium}: {int(hits.sum())} of {int(mine.sum())}")
    for name, label, row in zip(names, labels, shares, strict=True):
        if row.argmax() != label:
            print(f"  {name}: {MEDIA[label]}, taken for {MEDIA[row.argmax()]} ({float(row.max()):.2f})")
    save_file({"weight": weight.contiguous(), "bias": bias.contiguous()}, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
