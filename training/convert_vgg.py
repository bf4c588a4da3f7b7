"""The features of losses out of `stlpips-pytorch`: ``python -m training.convert_vgg VGG.pth OUT [stages]``.

`artflow/models/vgg/README.md` says where they come from. Three stages are what ships, in float16 (3.5 MB; four
are 15.3 MB).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from artflow.models.families.painter.vgg import STAGES


def convert(weights: Path, out: Path, stages: int = 3) -> None:
    """Write the first ``stages`` of the network under the names of `VGGFeatures`."""
    given = torch.load(weights, map_location="cpu", weights_only=True)
    tensors = {kind: given[f"scaling_layer.{kind}"] for kind in ("shift", "scale")}
    for name in (name for stage in STAGES[:stages] for name in stage):
        for kind in ("weight", "bias"):
            tensors[f"{name}.{kind}"] = given[f"net.slice{name}.{kind}"].half().contiguous()
    save_file(tensors, out)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
