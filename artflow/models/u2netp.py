"""U2-Net in its small form (u2netp), the embedded network that finds the subject of a photo.

"U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection" (Qin et al., 2020). 1.1 million weights;
each stage of a U is a small U itself.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from artflow.models.dtypes import memory_format
from artflow.models.weight_loading import weight_loading_lock

WEIGHTS = Path(__file__).parent / "u2netp" / "u2netp.safetensors"
SIDE = 320  # pixels a side that it was trained at
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the pictures it was trained on
WIDTH, MIDDLE = 64, 16  # channels between stages, and inside of them
DEPTHS = (7, 6, 5, 4)  # of the stages that halve the size inside; those below do not


def halved(x: Tensor) -> Tensor:
    """``[n, c, h, w]`` at half the size, rounded up."""
    return max_pool2d(x, 2, stride=2, ceil_mode=True)


def as_large(x: Tensor, other: Tensor) -> Tensor:
    """``x`` at the size of the other."""
    return interpolate(x, size=other.shape[2:], mode="bilinear")


class Stage(nn.Module):
    """A small U, added to its own input. ``flat``: it widens its view by dilation instead of halving the size."""

    def __init__(self, channels: int, depth: int, *, flat: bool = False) -> None:
        super().__init__()
        self.flat = flat

        def convolution(of: int, out: int, level: int) -> nn.Conv2d:
            apart = 2**level if flat else 2 if level == depth - 1 else 1
            return nn.Conv2d(of, out, 3, padding=apart, dilation=apart)

        self.enter = nn.Conv2d(channels, WIDTH, 3, padding=1)
        self.down = nn.ModuleList(convolution(WIDTH if i == 0 else MIDDLE, MIDDLE, i) for i in range(depth))
        self.up = nn.ModuleList(convolution(2 * MIDDLE, MIDDLE if i else WIDTH, i) for i in reversed(range(depth - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, h, w]`` to ``[n, WIDTH, h, w]``."""
        entered = x = relu(self.enter(x))
        seen: list[Tensor] = []
        for convolution in self.down:
            if 2 <= len(seen) + 1 < len(self.down) and not self.flat:
                x = halved(x)
            x = relu(convolution(x))
            seen.append(x)
        x = seen.pop()
        for convolution in self.up:
            detail = seen.pop()
            x = relu(convolution(torch.cat([as_large(x, detail), detail], 1)))
        return x + entered


class U2NetP(nn.Module):
    """The network at inference, its normalisation folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        kinds = [(depth, False) for depth in DEPTHS] + [(DEPTHS[-1], True)] * 2
        self.down = nn.ModuleList(Stage(WIDTH if i else 3, depth, flat=flat) for i, (depth, flat) in enumerate(kinds))
        self.up = nn.ModuleList(Stage(2 * WIDTH, depth, flat=flat) for depth, flat in kinds[-2::-1])
        self.sides = nn.ModuleList(nn.Conv2d(WIDTH, 1, 3, padding=1) for _ in kinds)
        self.joined = nn.Conv2d(len(kinds), 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB, ``[n, 3, h, w]``, to how likely each pixel is of the subject, ``[n, 1, h, w]``, 0 to 1."""
        seen: list[Tensor] = []
        for stage in self.down:
            x = stage(halved(x) if seen else x)
            seen.append(x)
        made = [seen.pop()]
        for stage in self.up:
            detail = seen.pop()
            made.append(stage(torch.cat([as_large(made[-1], detail), detail], 1)))
        views = [side(one) for side, one in zip(self.sides, reversed(made), strict=True)]
        return torch.sigmoid(self.joined(torch.cat([as_large(view, views[0]) for view in views], 1)))


@lru_cache(maxsize=2)
def load_u2netp(device: str) -> U2NetP:
    """The network with the weights that ship with the app."""
    with weight_loading_lock():
        model = U2NetP()
    model.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    model = model.to(device).to(memory_format=memory_format(device))  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


def load(device: str) -> None:
    """Read the weights, unless this process has them."""
    load_u2netp(device)


def saliency(picture: NDArray[np.uint8], device: str) -> NDArray[np.float32]:
    """How likely each pixel of a picture, ``[320, 320, 3]`` in sRGB, is of its subject: ``[320, 320]``, 0 to 1."""
    values = (picture / max(int(picture.max()), 1) - MEAN) / SPREAD
    x = torch.from_numpy(values.astype(np.float32)).to(device).permute(2, 0, 1)[None]
    with torch.inference_mode():
        found = load_u2netp(device)(x)
    return found[0, 0].float().cpu().numpy()
