"""Control: what a ControlNet costs, and rows with and without it in one call against two calls.

``python -m benchmarks.control [--models pocket sd15] [--rounds 5]``. Pocket has its own weights and size, SD 1.5 random
ones at 256 px; the ControlNets are copies of the UNets' first halves, as all are before they are trained.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import torch
from diffusers import ControlNetModel

from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.images import Size
from artflow.models.extras import Control, Extras
from artflow.models.families.unet import UNetModel
from artflow.models.weight_loading import weight_loading_lock
from benchmarks.common import apart, in_turns, machine
from benchmarks.full_size import build_full_size
from benchmarks.models import subject

SIDES = {"pocket": 128, "sd15": 256}
NETWORK = "benchmark"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}, one thread\n")
    print("| model | px | rows | plain ms | all with control | half with, in one call | in two | one / two |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models:
        runner = apart(partial(steerable, name))
        for count in (2, 8) if name == "pocket" else (2,):
            times = apart(partial(timed, runner, SIDES[name], count, options.rounds))
            plain, full, one, two = (1000 * times[side] for side in ("plain", "full", "one", "two"))
            cells = f"{plain:.0f} | {full:.0f} ({full / plain:.2f} x) | {one:.0f} | {two:.0f} | {one / two:.2f}"
            print(f"| {name} | {SIDES[name]} | {count} | {cells} |", flush=True)


def steerable(name: str) -> Runner:
    """A model with a ControlNet."""
    runner = Runner(build_full_size("sd15")) if name == "sd15" else subject(name).runner()
    model = runner.model
    assert isinstance(model, UNetModel)
    with weight_loading_lock():
        network = ControlNetModel.from_unet(model.unet, load_weights_from_unet=False)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    model.control_networks[NETWORK] = network.to(memory_format=torch.channels_last).requires_grad_(False).eval()
    return runner


def timed(runner: Runner, side: int, count: int, rounds: int) -> dict[str, float]:
    """Seconds of so many rows: none, all and half of them with control, the halves in one call and in two."""
    torch.set_num_threads(1)
    size = Size(side, side)
    noise = np.random.default_rng(0)
    hint = torch.from_numpy(noise.random((3, size.height, size.width), np.float32))
    inputs = runner.inputs(runner.conditions.encode("a house"), size)
    control = Extras(controls=(Control(NETWORK, hint, 1.0),))
    shape = runner.model.latent_shape(size)
    latents = [torch.from_numpy(noise.standard_normal(shape, np.float32)) for _ in range(count)]
    without = [Row(latent, torch.tensor(499.0), inputs) for latent in latents]
    steered = [Row(latent, torch.tensor(499.0), inputs, control) for latent in latents]
    half = count // 2

    def two() -> None:
        runner.predict(steered[:half])
        runner.predict(without[half:])

    sides = {
        "plain": lambda: runner.predict(without),
        "full": lambda: runner.predict(steered),
        "one": lambda: runner.predict([*steered[:half], *without[half:]]),
        "two": two,
    }
    return in_turns(sides, rounds=rounds, warmup=1)


if __name__ == "__main__":
    main()
