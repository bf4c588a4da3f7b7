"""EfficientNet-Lite0, the embedded photo classifier: which of a thousand things a photo shows.

"EfficientNet" (Tan and Le, 2019) in the edition without squeeze and excitation, trained on ImageNet. 4.7 million
weights; `artflow/models/efficientnet_lite0/README.md` says where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from artflow.images import Picture
from artflow.models.weight_loading import weight_loading_lock

FOLDER = Path(__file__).parent / "efficientnet_lite0"
SIDE = 224  # pixels it was trained at
MARGIN = 32  # pixels around those that it was tested without, of a photo whose shorter side is SIDE + MARGIN
STAGES = (  # blocks, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
STEM, HEAD, CLASSES = 32, 1280, 1000
STRIDE = 32  # pixels a side of one place of the last features
PLAIN = 1.0  # standard deviation under which a picture is one colour, which no camera makes
PHOTO, PAINTING, DRAWING = MEDIA = ("a photo", "a painting", "a drawing")


class Convolution(nn.Conv2d):
    """A convolution padded as TensorFlow does it: where an odd pixel is needed, it is at the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, c, h, w]`` to ``[n, channels, ceil(h / stride), ceil(w / stride)]``."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        rows, columns = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        return super().forward(
            nn.functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        )


class Block(nn.Module):
    """An inverted bottleneck: wider, each channel by itself, narrower."""

    def __init__(self, before: int, kernel: int, stride: int, expansion: int, after: int) -> None:
        super().__init__()
        wide = before * expansion
        self.expand = Convolution(before, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = Convolution(wide, wide, kernel, stride, groups=wide)
        self.project = Convolution(wide, after, 1)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """``[n, before, h, w]`` to ``[n, after, ceil(h / stride), ceil(w / stride)]``."""
        wide = x if isinstance(self.expand, nn.Identity) else nn.functional.relu6(self.expand(x))
        narrow = self.project(nn.functional.relu6(self.depthwise(wide)))
        return narrow + x if self.adds else narrow


class EfficientNetLite0(nn.Module):
    """The network at inference, each batch norm folded into its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, STEM, 3, 2)
        blocks, before = [], STEM
        for count, kernel, stride, expansion, after in STAGES:
            for number in range(count):
                blocks.append(Block(before, kernel, 1 if number else stride, expansion, after))
                before = after
        self.blocks = nn.Sequential(*blocks)
        self.head = Convolution(before, HEAD, 1)
        self.classes = nn.Linear(HEAD, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, 3, h, w]``, (RGB - 127) / 128, to the features of ``[n, 1280, h / 32, w / 32]``, from 0 to 6.

        Their mean over the picture, through `classes`, is the logits.
        """
        return nn.functional.relu6(self.head(self.blocks(nn.functional.relu6(self.stem(x)))))


class Look(NamedTuple):
    """What the network sees in a picture. All shares are from 0 to 1, best first, and add up to 1 over a whole list."""

    names: list[tuple[str, float]]
    """The share of each of the thousand things: "a tabby cat"."""
    kinds: list[tuple[str, float]]
    """The same for what several of them have in common: "a cat"; these do not add up to 1."""
    media: list[tuple[str, float]]
    """The share of each of `MEDIA`."""
    where: NDArray[np.float32]
    """How much of the nearest name is where, from 0 to 1, of shape (about height / 32, width / 32)."""


def look(picture: Picture, device: str) -> Look:
    """What a picture shows: the mean of two looks, at its middle and at all of it. Any size from 8 x 8."""
    return _kept(device).look(picture)


def load(device: str) -> None:
    """Read the weights, unless this process has them."""
    _kept(device)


@lru_cache(maxsize=2)
def _kept(device: str) -> Classifier:
    return Classifier(device)


class Classifier:
    """The network with its weights, in float32; what it computes must be on the thread that owns the device."""

    def __init__(self, device: str) -> None:
        self._network = load_network(device)
        media = load_file(FOLDER / "media.safetensors")
        self._media = media["weight"].to(device), media["bias"].to(device)
        lines = (FOLDER / "classes.tsv").read_text("utf-8").splitlines()
        self._names, self._kinds = zip(*(line.split("\t") for line in lines), strict=True)

    @torch.inference_mode()
    def look(self, picture: Picture) -> Look:
        """See `look`."""
        crop, whole = (self._network(view)[0] for view in views(Image.fromarray(picture), self._media[0].device))
        means = torch.stack([features.mean((1, 2)) for features in (crop, whole)])
        shares = self._network.classes(means).softmax(1).mean(0)
        weight, bias = self._media
        media = (means @ weight.T + bias).softmax(1).mean(0).tolist()
        if picture.std((0, 1)).max() < PLAIN:
            media = [float(medium == DRAWING) for medium in MEDIA]
        heat = torch.einsum("c,chw->hw", self._network.classes.weight[shares.argmax()], whole).relu()
        values = shares.tolist()
        return Look(
            names=_added(self._names, values),
            kinds=_added(self._kinds, values),
            media=sorted(zip(MEDIA, media, strict=True), key=lambda one: -one[1]),
            where=(heat / heat.max().clamp(min=1e-6)).cpu().numpy(),
        )


def load_network(device: str) -> EfficientNetLite0:
    """The network with the weights that ship with the app, in float32."""
    with weight_loading_lock():
        network = EfficientNetLite0()
    weights = load_file(FOLDER / "model.safetensors")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    return network.eval().requires_grad_(False).to(device)


def views(image: Image.Image, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """The two looks at an RGB image, as the network takes them: [1, 3, h, w].

    The middle square without its margin, and all of it, squeezed where it is over twice as long as wide.
    """
    width, height = image.size
    side = min(width, height)
    half = side * SIDE / (SIDE + MARGIN) / 2
    middle = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    columns, rows = (round(min(2.0, length / side) * SIDE / STRIDE) * STRIDE for length in (width, height))
    bicubic = Image.Resampling.BICUBIC
    crop, whole = image.resize((SIDE, SIDE), bicubic, box=middle), image.resize((columns, rows), bicubic)
    return _pixels(crop).to(device), _pixels(whole).to(device)


def _pixels(image: Image.Image) -> Tensor:
    return ((torch.from_numpy(np.array(image, np.float32)) - 127) / 128).permute(2, 0, 1)[None]


def _added(words: Sequence[str], shares: Sequence[float]) -> list[tuple[str, float]]:
    """Words with their shares, best first; a word that is there more than once has the sum. Without empty words."""
    total: dict[str, float] = {}
    for word, share in zip(words, shares, strict=True):
        if word:
            total[word] = total.get(word, 0.0) + share
    return sorted(total.items(), key=lambda one: -one[1])
