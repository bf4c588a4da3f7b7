"""SPAN, the embedded upscaler: a small convolutional network that makes pictures 2 or 4 times as large.

"Swift Parameter-free Attention Network for Efficient Super-Resolution" (Wan et al., 2024). About 0.4 million weights; a
value of the result depends on the 21 pixels around it and nothing else.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from artflow.models.weight_loading import weight_loading_lock

FOLDER = Path(__file__).parent / "upscalers"
SCALES = (2, 4)
REACH = 22  # pixels around a pixel that its value depends on, and one more
CHANNELS = 48
MEAN = (0.4488, 0.4371, 0.4040)  # of the pictures it was trained on


class Block(nn.Module):
    """Three convolutions whose result is also its own attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.c1, self.c2, self.c3 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's result, and the first convolution's for the end of the network."""
        first = nn.functional.silu(self.c1(x))
        last = self.c3(nn.functional.silu(self.c2(first)))
        return (last + x) * (torch.sigmoid(last) - 0.5), first


class Span(nn.Module):
    """The network at inference, its training-time branches folded into single convolutions."""

    mean: Tensor

    def __init__(self, scale: int, channels: int = CHANNELS) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleDict({str(i): Block(channels) for i in range(1, 7)})
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_cat = nn.Conv2d(4 * channels, channels, 1)
        self.upsampler = nn.Conv2d(channels, 3 * scale * scale, 3, padding=1)
        self.scale = scale
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, h, w]``, RGB from 0 to 1, to ``[n, 3, h * scale, w * scale]``, not yet cut off at 0 and 1."""
        begin = self.conv_1((x - self.mean) * 255)
        results, first = [begin], begin
        for block in self.blocks.values():
            result, first = block(results[-1])
            results.append(result)
        end = self.conv_cat(torch.cat([begin, self.conv_2(results[-1]), results[1], first], 1))
        return nn.functional.pixel_shuffle(self.upsampler(end), self.scale)


@lru_cache(maxsize=4)
def load_span(scale: int, device: str) -> Span:
    """The network for 2 or 4 times, with the weights that ship with the app.

    In float32 everywhere: of a fine checkerboard its layers make numbers of nearly 100,000, which float16 has not.
    """
    with weight_loading_lock():
        model = Span(scale)
    weights = load_file(FOLDER / f"span_x{scale}.safetensors")
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    return model.eval().requires_grad_(False).to(device)
