"""The embedded upscaler's weights out of an ncnn model: ``python training/convert_span.py PARAM BIN OUT``.

`artflow/models/upscalers/README.md` says where they come from. The ``.param`` lists the layers; the ``.bin`` holds, for
each convolution in that order, a mark for float16, the weights padded to four bytes, and the bias in float32.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FLOAT16 = 0x01306B47


def convert(param: Path, weights: Path, out: Path) -> None:
    """Write the weights under the names of `artflow.models.span.Span`, in float16 as they are."""
    data, at = weights.read_bytes(), 0
    tensors: dict[str, np.ndarray] = {}
    for line in param.read_text().splitlines()[2:]:
        kind, name, *rest = line.split()
        facts = dict(pair.split("=") for pair in rest if pair[:1].isdigit() and "=" in pair)
        if kind == "MemoryData":
            at += 4 * int(facts["0"]) * int(facts["1"]) * int(facts["2"])  # the mean colour, in float32
        if kind != "Convolution":
            continue
        width, side, count = int(facts["0"]), int(facts["1"]), int(facts["6"])
        if int.from_bytes(data[at : at + 4], "little") != FLOAT16:
            raise ValueError(f"{name} is not in float16")
        values = np.frombuffer(data, "<f2", count, at + 4)
        at += 4 + (2 * count + 3) // 4 * 4
        bias = np.frombuffer(data, "<f4", width, at)
        at += 4 * width
        ours = name.strip("/").removesuffix("/Conv").replace("/eval_conv", "").replace("/", ".")
        ours = ours.replace("upsampler.upsampler.0", "upsampler").replace("block_", "blocks.").replace("_r", "")
        tensors[f"{ours}.weight"] = values.reshape(width, -1, side, side).copy()
        tensors[f"{ours}.bias"] = bias.astype(np.float16)
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes are left over")
    save_file(tensors, out)


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:4]))
