"""The weights of MI-GAN out of its ONNX pipeline: ``python training/convert_migan.py ONNX OUT``.

`artflow/models/migan/README.md` says where they come from. The file holds a pipeline from bytes to bytes around the
generator. Of its values those of the convolutions are kept under the names of `artflow.models.migan.MiGan`, and the
noise that two layers of each size add, which is the same for every picture; filters that are the same everywhere are
part of the code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

CONVOLUTION = re.compile(r"model\.(encoder|synthesis)\.b(\d+)\.(conv\d\.conv\d|fromrgb|torgb)\.(weight|bias)")
LAYERS = {"conv1": "depthwise", "conv2": "pointwise"}


def convert(source: Path, out: Path) -> None:
    """Write the weights in float16."""
    graph = onnx.load(source).graph
    values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    tensors: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if (found := CONVOLUTION.fullmatch(name)) is None:
            continue
        part, side, layer, kind = found.groups()
        first, _, second = layer.partition(".")
        path = [part, side, *([first, LAYERS[second]] if second else [{"fromrgb": "enter", "torgb": "leave"}[first]])]
        tensors[".".join([*path, kind])] = value
    for node in graph.node:
        if node.op_type == "Add" and node.input[1] in values and (noise := values[node.input[1]]).ndim == 2:
            side, layer = re.fullmatch(r"/model/synthesis/b(\d+)/(conv\d)/.*", node.output[0]).groups()
            tensors[f"synthesis.{side}.{layer}.noise"] = noise
    largest = max(float(np.abs(value).max()) for value in tensors.values())
    if largest > np.finfo(np.float16).max:
        raise ValueError(f"{largest} is no float16")
    save_file({name: np.ascontiguousarray(value, np.float16) for name, value in tensors.items()}, out)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:3]))
