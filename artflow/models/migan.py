"""MI-GAN, the embedded network that fills holes in photos with what is around them, without a prompt.

"MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices" (Sargsyan et al., 2023). A U-shaped network of
separable convolutions, 6 million weights, trained on photos of places at 512 x 512, its only size.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu, pad

from artflow.models.dtypes import memory_format
from artflow.models.weight_loading import weight_loading_lock

WEIGHTS = Path(__file__).parent / "migan" / "migan.safetensors"
SIDE = 512
LIMIT = 256.0  # of a layer's values, as in training
GAIN = 2**0.5  # keeps the values' spread through a layer


def activated(x: Tensor) -> Tensor:
    """A leaky ReLU, scaled and limited."""
    return leaky_relu(x, 0.2).mul_(GAIN).clamp_(-LIMIT, LIMIT)


def halved(x: Tensor) -> Tensor:
    """``[n, c, h, w]`` at half the size, by the filter 1 3 3 1 in both directions."""
    line = torch.tensor([1, 3, 3, 1], dtype=x.dtype, device=x.device) / 8
    channels = x.shape[1]
    return conv2d(x, torch.outer(line, line).expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


def doubled(x: Tensor) -> Tensor:
    """``[n, c, h, w]`` at twice the size, by the same filter: bilinear, with zeros beyond the edge."""
    return interpolate(pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[:, :, 2:-2, 2:-2]


class Separable(nn.Module):
    """A convolution of each channel by itself, then one over the channels, each followed by an activation.

    ``size``: 0.5 halves the sides between the two, 2 doubles them behind. ``noise``: the side of the noise that is
    added at the end, 0 for none.
    """

    noise: Tensor | None

    def __init__(self, channels: int, out: int, size: float = 1, noise: int = 0) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.pointwise = nn.Conv2d(channels, out, 1, bias=False)
        self.size = size
        self.register_buffer("noise", torch.zeros(noise, noise) if noise else None)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, h, w]`` to ``[n, out, h * size, w * size]``."""
        x = activated(self.depthwise(x))
        if self.size < 1:
            x = halved(x)
        x = self.pointwise(x)
        if self.size > 1:
            x = doubled(x)
        if self.noise is not None:
            x = x + self.noise
        return activated(x)


class Down(nn.Module):
    """A step of the encoder; the first one takes in the picture, the last one keeps the size."""

    def __init__(self, channels: int, out: int, *, first: bool, last: bool) -> None:
        super().__init__()
        self.enter = nn.Conv2d(4, channels, 1) if first else None
        self.conv1 = Separable(channels, channels)
        self.conv2 = Separable(channels, out, size=1 if last else 0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the next step is given, and what the synthesis is shown of this size."""
        detail = self.conv1(x if self.enter is None else activated(self.enter(x)))
        return self.conv2(detail), detail


class Up(nn.Module):
    """A step of the synthesis, which also makes a picture of its size."""

    def __init__(self, channels: int, out: int, side: int) -> None:
        super().__init__()
        self.first = side == 4
        noise = 0 if self.first else side
        self.conv1 = Separable(channels, out, size=1 if self.first else 2, noise=noise)
        self.conv2 = Separable(out, out, noise=noise)
        self.leave = nn.Conv2d(out, 3, 1)

    def forward(self, x: Tensor, detail: Tensor, picture: Tensor | None) -> tuple[Tensor, Tensor]:
        """What the next step is given, and the picture so far."""
        x = self.conv2(self.conv1(x) + detail)
        made = self.leave(x)
        return x, made if picture is None else doubled(picture) + made


class MiGan(nn.Module):
    """The generator at inference. ``side`` is a power of two; ``width``: channels at a side of one, ``most`` at most.

    Smaller ones than the shipped weights' are for tests.
    """

    def __init__(self, side: int = SIDE, width: int = 32768, most: int = 512) -> None:
        super().__init__()
        sides = [2**power for power in range(2, side.bit_length())]

        def channels(of: int) -> int:
            return min(width // of, most)

        self.encoder = nn.ModuleDict(
            {str(s): Down(channels(s), channels(max(s // 2, 4)), first=s == side, last=s == 4) for s in sides[::-1]}
        )
        self.synthesis = nn.ModuleDict({str(s): Up(channels(max(s // 2, 4)), channels(s), s) for s in sides})

    def forward(self, pictures: Tensor, known: Tensor) -> Tensor:
        """Pictures without holes, not yet cut off at -1 and 1.

        Args:
            pictures: ``[n, 3, side, side]``, RGB from -1 to 1; what they hold in holes does not matter
            known: ``[n, 1, side, side]``, 0 in holes and 1 elsewhere
        """
        x = torch.cat([known - 0.5, pictures * known], 1)
        details: dict[str, Tensor] = {}
        for side, down in self.encoder.items():
            x, details[side] = down(x)
        made: Tensor | None = None
        for side, up in self.synthesis.items():
            x, made = up(x, details[side], made)
        assert made is not None
        return made


@lru_cache(maxsize=2)
def load_migan(device: str) -> MiGan:
    """The network with the weights that ship with the app: float16 on a GPU, float32 on a CPU."""
    with weight_loading_lock():
        model = MiGan()
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    model.load_state_dict({name: value.to(dtype) for name, value in load_file(WEIGHTS).items()})
    model = model.to(device, dtype).to(memory_format=memory_format(device))  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


def load(device: str) -> None:
    """Read the weights, unless this process has them."""
    load_migan(device)


def fill(pictures: NDArray[np.uint8], holes: NDArray[np.bool_], device: str) -> NDArray[np.uint8]:
    """Pictures, ``[n, 512, 512, 3]``, made anew all over, so that their holes, ``[n, 512, 512]``, are filled."""
    model = load_migan(device)
    dtype = next(model.parameters()).dtype
    values = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1  # channels last
    known = 1 - torch.from_numpy(holes).to(device)[:, None].to(dtype)
    with torch.inference_mode():
        made = model(values, known)
    return ((made.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
