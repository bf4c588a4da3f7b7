"""What LoRAs cost: rows with 0, 1 and 4 of them, and eight people with four sets against diffusers' ``set_adapters``.

``python -m benchmarks.lora [pocket|sd-turbo] [rows|people]``. The LoRAs are random, of rank 16, for the
UNet's attention.
Seconds are those of the one thread that computes, so that other work on the machine counts little.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from artflow.images import Size
from artflow.models.extras import Extras
from artflow.models.families.unet import UNetModel
from benchmarks.common import in_turns, machine
from benchmarks.models import Subject, subject
from tests.support.loras import write_lora

RANK, PEOPLE = 16, 8
ATTENTION = re.compile(r".*attn[12]\.(to_q|to_k|to_v|to_out\.0)")
SETS = ({"l0": 1.0}, {"l1": 0.7}, {"l2": -0.5}, {"l3": 0.8, "l0": 0.4})


def calls(model: UNetModel, side: int) -> Callable[[list[Extras]], Callable[[], object]]:
    """Calls of the UNet whose rows have given LoRAs."""
    latents = torch.randn(PEOPLE, *model.latent_shape(Size(side, side)))
    text = torch.randn(PEOPLE, model.max_tokens, model.text_width, dtype=model.dtype)

    def make(extras: list[Extras]) -> Callable[[], object]:
        count = len(extras)
        rows = latents[:count], torch.full((count,), 499.0), {"text": text[:count]}

        @torch.inference_mode()
        def call() -> object:
            return model.predict_with(*rows, extras) if any(extras) else model.predict(*rows)

        return call

    return make


def rows_cost(model: UNetModel, side: int, rounds: int) -> None:
    """Seconds of calls in which each row has 0, 1 or 4 LoRAs."""
    call = calls(model, side)
    some = [Extras(tuple((f"l{i}", 0.5) for i in range(count))) for count in (0, 1, 4)]
    print("\n| rows | no LoRA | 1 | 4 | 1 against none | 4 |\n|---|---|---|---|---|---|")
    for rows in (1, 4) if side < 256 else (1,):
        none, one, four = in_turns(
            {str(i): call([extras] * rows) for i, extras in enumerate(some)},
            rounds=rounds,
            warmup=1,
            clock=time.thread_time,
        ).values()
        print(
            f"| {rows} | {none * 1000:.0f} ms | {one * 1000:.0f} ms | {four * 1000:.0f} ms | {one / none:.2f} x "
            f"| {four / none:.2f} x |",
            flush=True,
        )


def against_diffusers(of: Subject, folder: Path, rounds: int) -> None:
    """A step of eight people with four sets: one call of ours, and diffusers' with ``set_adapters`` between people."""
    pipe = of.diffusers_pipeline()
    for path in sorted(folder.glob("*.safetensors")):
        pipe.load_lora_weights(folder, weight_name=path.name, adapter_name=path.stem)
    latents = torch.randn(1, *of.plain.latent_shape(Size(of.side, of.side)))
    text = torch.randn(1, of.plain.max_tokens, of.plain.text_width)

    @torch.inference_mode()
    def theirs() -> None:
        for person in range(PEOPLE):
            loras = SETS[person % len(SETS)]
            pipe.set_adapters(list(loras), list(loras.values()))
            pipe.unet(latents, torch.tensor([499.0]), encoder_hidden_states=text, return_dict=False)

    extras = [Extras(tuple(SETS[person % len(SETS)].items())) for person in range(PEOPLE)]
    make = calls(of.ours, of.side)
    make(extras[:1])()  # the order of packed weights is chosen once
    ours = make(extras)
    seconds = in_turns({"ours": ours, "theirs": theirs}, rounds=rounds, warmup=int(rounds > 1), clock=time.thread_time)
    print("\n| 8 people, 4 sets | ours | diffusers, set_adapters between people | |\n|---|---|---|---|")
    ratio = seconds["theirs"] / seconds["ours"]
    print(f"| a step of all | {seconds['ours'] * 1000:.0f} ms | {seconds['theirs'] * 1000:.0f} ms | {ratio:.2f} x |")


def main(name: str = "pocket", *what: str) -> None:
    """Time one model."""
    rounds = 15 if name == "pocket" else 1
    of = subject(name)
    of.runner()  # packs it, as the app does
    torch.set_num_threads(1)
    print(f"{name}, {of.side} px, rank {RANK}, {of.ours.dtype}: {machine()}")
    with tempfile.TemporaryDirectory(prefix="artflow-") as place:
        folder = Path(place)
        for i in range(4):
            about = {"seed": i, "ranks": (RANK,), "layers": ATTENTION, "strength": 0.02}
            write_lora(folder / f"l{i}.safetensors", {"unet": of.plain.unet}, **about)
        of.ours.lora_folder = folder
        of.ours.loras.load([f"l{i}" for i in range(4)])
        if "people" not in what:
            rows_cost(of.ours, of.side, 2 * rounds + 2)
        if "rows" not in what:
            against_diffusers(of, folder, rounds)


if __name__ == "__main__":
    main(*sys.argv[1:])
