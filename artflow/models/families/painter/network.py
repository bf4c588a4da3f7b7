"""The painting networks: convolutions whose instance norms are scaled and shifted by a style (1610.07629, 1705.06830).

Both of Magenta's have one shape. The convolutions are the same for all styles; a style is the scales and shifts of the
norms, and nothing else, so styles mix linearly and every row of a batch can have its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F

EPSILON = 1e-5  # under the root of the variance
MULTIPLE = 4  # pixels: both halvings of the sides must come out even
UPSAMPLED = ("expand.0", "expand.1")


class Layer(NamedTuple):
    """A convolution. ``kernel`` is a side in pixels; ``normed``: a style scales and shifts its ``channels``."""

    name: str
    channels: int
    kernel: int
    stride: int
    upsampled: bool
    """Whether its input is made twice as large first, by its nearest neighbours."""
    relu: bool
    normed: bool


def layers_of(weights: Mapping[str, torch.Tensor]) -> list[Layer]:
    """The layers that a file of weights describes, in the order of computing.

    A layer is ``<name>.weight`` (out, in, kernel, kernel) and, where it has no norm, ``<name>.bias``.
    """
    blocks = sum(name.startswith("res.") and name.endswith(".0.weight") for name in weights)
    names = [
        *(f"contract.{i}" for i in range(3)),
        *(f"res.{i}.{j}" for i in range(blocks) for j in range(2)),
        *(f"expand.{i}" for i in range(3)),
    ]
    return [
        Layer(
            name,
            channels=weights[f"{name}.weight"].shape[0],
            kernel=weights[f"{name}.weight"].shape[-1],
            stride=2 if name in ("contract.1", "contract.2") else 1,
            upsampled=name in UPSAMPLED,
            relu=not (name.startswith("res.") and name.endswith(".1")) and name != "expand.2",
            normed=f"{name}.bias" not in weights,
        )
        for name in names
    ]


def style_size(layers: list[Layer]) -> int:
    """How many numbers a style of these layers is: for each normed one its scales, then its shifts."""
    return 2 * sum(layer.channels for layer in layers if layer.normed)


class PainterNetwork(torch.nn.Module):
    """Pictures painted in a style each."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.layers = layers_of(weights)
        self.style_size = style_size(self.layers)
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "_"), value)

    def forward(self, pixels: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
        """Paint.

        Args:
            pixels: (n, 3, height, width), 0 to 1; the sides are multiples of `MULTIPLE`, 16 pixels at least
            styles: (n, `style_size`)

        Returns:
            (n, 3, height, width), 0 to 1, float32.
        """
        sizes = [layer.channels for layer in self.layers if layer.normed for _ in range(2)]
        parts = iter(styles.float().split(sizes, dim=1))
        value, skipped = pixels, pixels
        for layer in self.layers:
            if layer.name.startswith("res.") and layer.name.endswith(".0"):
                skipped = value
            value = self._layer(layer, value, parts)
            if layer.name.startswith("res.") and layer.name.endswith(".1"):
                value = value + skipped
        return torch.sigmoid(value.float())

    def _layer(self, layer: Layer, value: torch.Tensor, parts) -> torch.Tensor:
        name, edge = layer.name.replace(".", "_"), layer.kernel // 2
        if layer.upsampled:
            value = F.interpolate(value, scale_factor=2, mode="nearest")
        value = F.pad(value, (edge, edge, edge, edge), mode="reflect")
        bias = None if layer.normed else getattr(self, f"{name}_bias")
        value = F.conv2d(value, getattr(self, f"{name}_weight"), bias, stride=layer.stride)
        if layer.normed:
            scale, shift = next(parts), next(parts)
            variance, mean = torch.var_mean(value.float(), dim=(2, 3), correction=0)
            scale = scale * torch.rsqrt(variance + EPSILON)
            shift = shift - mean * scale
            value = torch.addcmul(_like(shift, value), value, _like(scale, value))
        return torch.relu(value) if layer.relu else value


def _like(numbers: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return numbers[:, :, None, None].to(value.dtype)
