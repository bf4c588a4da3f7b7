"""The weights of u2netp out of its ONNX file: ``python training/convert_u2netp.py ONNX OUT``.

`artflow/models/u2netp/README.md` says where they come from. Most convolutions have no names in the file, but stand
in the order in which the network uses them, which is that of `artflow.models.u2netp.U2NetP`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from artflow.models.u2netp import U2NetP


def names() -> list[str]:
    """Our names of the convolutions, in the order in which they are used."""
    model = U2NetP()
    stages = [(f"{way}.{i}", stage) for way in ("down", "up") for i, stage in enumerate(getattr(model, way))]
    found = []
    for name, stage in stages:
        inner = [f"{way}.{i}" for way in ("down", "up") for i in range(len(getattr(stage, way)))]
        found += [f"{name}.{one}" for one in ("enter", *inner)]
    return [*found, *(f"sides.{i}" for i in range(len(model.sides))), "joined"]


def convert(source: Path, out: Path) -> None:
    """Write the weights in float16."""
    graph = onnx.load(source).graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    tensors: dict[str, np.ndarray] = {}
    used = [node for node in graph.node if node.op_type == "Conv"]
    for name, node in zip(names(), used, strict=True):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (values[one].astype(np.float16) for one in node.input[1:])
    save_file(tensors, out)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:3]))
