"""The painting networks as graphs for onnxruntime, which computes them on CPUs almost twice as fast as torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import ModelProto, NodeProto
from onnx.onnx_ml_pb2 import TensorProto as Constant

from artflow.models.families.painter.network import EPSILON, Layer, layers_of, style_size

OPSET = 17


def painter_graph(weights: Mapping[str, torch.Tensor]) -> ModelProto:
    """The graph of a `PainterNetwork`: ``pixels`` (n, 3, height, width) and ``styles`` (n, size) to ``painted``.

    A norm with a style per row is one `InstanceNormalization` over rows times channels, whose scales and shifts are the
    styles themselves.
    """
    graph = _Graph(weights)
    layers = layers_of(weights)
    sizes = [layer.channels for layer in layers if layer.normed for _ in range(2)]
    names = [f"{layer.name}.{part}" for layer in layers if layer.normed for part in ("scales", "shifts")]
    graph.add("Split", ["styles", graph.numbers(sizes)], names, axis=1)
    value = skipped = "pixels"
    for layer in layers:
        if layer.name.startswith("res.") and layer.name.endswith(".0"):
            skipped = value
        value = _layer(graph, layer, value)
        if layer.name.startswith("res.") and layer.name.endswith(".1"):
            value = graph.add("Add", [value, skipped], [f"{layer.name}.sum"])
    graph.add("Sigmoid", [value], ["painted"])
    picture: list[str | int | None] = ["n", 3, "height", "width"]
    made = helper.make_graph(
        graph.nodes,
        "painter",
        [
            helper.make_tensor_value_info("pixels", TensorProto.FLOAT, picture),
            helper.make_tensor_value_info("styles", TensorProto.FLOAT, ["n", style_size(layers)]),
        ],
        [helper.make_tensor_value_info("painted", TensorProto.FLOAT, picture)],
        graph.constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


class _Graph:
    """Nodes and constants as they are added."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[Constant] = [
            numpy_helper.from_array(value.numpy(), name) for name, value in weights.items()
        ]

    def add(self, kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def constant(self, value: np.ndarray) -> str:
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def numbers(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))


def _layer(graph: _Graph, layer: Layer, value: str) -> str:
    name, edge = layer.name, layer.kernel // 2
    if layer.upsampled:
        scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
        options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        value = graph.add("Resize", [value, "", scales], [f"{name}.upsampled"], **options)
    pads = graph.numbers([0, 0, edge, edge, 0, 0, edge, edge])
    value = graph.add("Pad", [value, pads], [f"{name}.padded"], mode="reflect")
    bias = [] if layer.normed else [f"{name}.bias"]
    value = graph.add("Conv", [value, f"{name}.weight", *bias], [f"{name}.conv"], strides=[layer.stride] * 2)
    if layer.normed:
        value = graph.add("Reshape", [value, graph.numbers([1, -1, 0, 0])], [f"{name}.rows"])
        flat = [
            graph.add("Reshape", [f"{name}.{part}", graph.numbers([-1])], [f"{name}.{part}.flat"])
            for part in ("scales", "shifts")
        ]
        value = graph.add("InstanceNormalization", [value, *flat], [f"{name}.normed"], epsilon=EPSILON)
        value = graph.add("Reshape", [value, graph.numbers([-1, layer.channels, 0, 0])], [f"{name}.styled"])
    return graph.add("Relu", [value], [f"{name}.relu"]) if layer.relu else value
