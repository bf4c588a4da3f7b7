"""What a picture's textures are, in numbers: the first layers of VGG-16, whose statistics make the loss of a style."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parents[2] / "vgg" / "vgg16.safetensors"
STAGES = (("1.0", "1.2"), ("2.6", "2.8"), ("3.12", "3.14", "3.16"), ("4.20", "4.22", "4.24"))
"""The convolutions between two poolings, named as in the network that they come from."""


class VGGFeatures(nn.Module):
    """VGG-16 up to the last stage in ``weights``: ``forward`` of (n, 3, h, w) in 0..1 gives the last layer of each.

    ``weights`` are those of `WEIGHTS`, or ones of more stages. Sides of at least 32 px, in float32; its own weights get
    no gradient, pictures do.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.stages = tuple(stage for stage in STAGES if f"{stage[0]}.weight" in weights)
        for name, value in weights.items():
            self.register_buffer(name.replace(".", "_"), value.float(), persistent=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = (2 * pixels - 1 - self.shift) / self.scale
        layers: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            if number:
                x = F.max_pool2d(x, 2)
            for name in stage:
                weight, bias = (getattr(self, f"{name}.{kind}".replace(".", "_")) for kind in ("weight", "bias"))
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            layers.append(x)
        return layers


def load_features(path: Path = WEIGHTS) -> VGGFeatures:
    """The network that losses are measured with, of the embedded file unless another is given."""
    return VGGFeatures(load_file(path)).eval()


def gram(layer: Tensor) -> Tensor:
    """How often channels are active together, (n, c, c) of (n, c, h, w): the texture, wherever in the picture it is."""
    flat = layer.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]
