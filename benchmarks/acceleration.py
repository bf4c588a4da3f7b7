"""A CPU's plain path (weights packed) against OpenVINO: ``python -m benchmarks.acceleration [pocket|sd-turbo ...]``.

Encode, one step and decode, in turns in one process: torch on one thread, as the app has it beside other work, OpenVINO
on all cores, as it is run. The accelerated model is a copy of its own.
"""

from __future__ import annotations

import sys
from functools import partial

import torch

from artflow.models.acceleration import accelerate
from artflow.models.catalog import load_catalog
from artflow.models.dtypes import pick_dtype
from artflow.models.families.unet import UNetModel
from artflow.models.loader import load_model
from artflow.models.packing import pack
from benchmarks.common import in_turns, machine
from benchmarks.full_size import build_full_size

SIDES = {"pocket": 128, "sd-turbo": 256}  # pixels
ROWS = {"pocket": (1, 4, 8), "sd-turbo": (1,)}
ROUNDS = {"pocket": 20, "sd-turbo": 4}


def made(name: str, dtype: torch.dtype) -> UNetModel:
    """The embedded model, or one of SD-Turbo's size with random weights."""
    if name == "pocket":
        model = load_model(load_catalog().get("pocket"), device="cpu", dtype=dtype)
        assert isinstance(model, UNetModel)
        return model
    return build_full_size("sd-turbo", dtype=dtype)


def main(names: list[str]) -> None:
    """Print a row for each number of pictures a call."""
    torch.set_num_threads(1)
    dtype = pick_dtype("auto", "cpu")
    print(
        f"{machine()}, {dtype}\n\n| model | rows | plain ms | openvino ms | openvino / plain |\n|---|---|---|---|---|"
    )
    for name in names:
        plain, fast = made(name, dtype), made(name, dtype)
        result = accelerate(fast, "openvino")
        assert result.active == "openvino", result.problem
        pack(plain)
        for rows in ROWS[name]:
            side = SIDES[name]
            pixels = torch.randint(0, 256, (rows, side, side, 3), dtype=torch.uint8)
            text = torch.randn(rows, plain.max_tokens, plain.unet.config.cross_attention_dim).to(dtype)

            def frame(model: UNetModel, pixels: torch.Tensor = pixels, text: torch.Tensor = text) -> torch.Tensor:
                with torch.inference_mode():
                    latents = model.encode(pixels)
                    return model.decode(model.predict(latents, torch.full((len(pixels),), 499.0), {"text": text}))

            seconds = in_turns(
                {"plain": partial(frame, plain), "openvino": partial(frame, fast)}, rounds=ROUNDS[name], warmup=2
            )
            ratio = seconds["openvino"] / seconds["plain"]
            print(
                f"| {name} | {rows} | {1000 * seconds['plain']:.0f} | {1000 * seconds['openvino']:.0f} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:] or list(SIDES))
