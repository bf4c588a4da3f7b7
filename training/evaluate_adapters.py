"""``python -m training.evaluate_adapters``: are the LoRAs and the ControlNet obeyed? With plain diffusers, few steps.

Prints the model card's rows on seeds and scenes that no training stage used, with sheets to look at under
``training/cache/sheets/``. Looks and things are told apart by `training.identity`'s features, lines by an F1 score.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

from training.common import POCKET, sheet
from training.control import Controlled, as_hint
from training.data import composer, to_tensor
from training.evaluate import SEED, SHEETS, Row, batched, load_shipped
from training.generate import Generator
from training.identity import features
from training.lora_looks import LORA_LOOKS
from training.scenes import Scene
from training.scribbles import by_hand, edges
from training.vae import sample_photos

TOLERANCE = 2.0  # pixels
SHOWN = (
    "a cat on grass", "a robot in space", "a panda on a yellow background", "a cactus on sand",
    "a castle on grass under a sunset sky", "a strawberry on a green background", "a house on snow under a night sky",
    "a fish",
)  # fmt: skip
GREETERS = ("a cat on grass", "a dog", "a woman on a blue background", "a robot in space")  # for a camera's picture


def to_uint8(pictures: torch.Tensor) -> list[np.ndarray]:
    """[N, 3, H, W] in [0, 1] -> N pictures [H, W, 3] uint8."""
    return list((pictures.permute(0, 2, 3, 1).clamp(0, 1) * 255).round().byte().numpy())


def scenes(count: int, canonical: bool, seed: int = SEED + 40) -> list[Scene]:
    """Held-out scenes of one thing in the unnamed style."""
    source, found = composer(seed), []
    while len(found) < count:
        scene = source.one(canonical)
        if scene.style == "3d" and len(scene.names) == 1:
            found.append(scene)
    return found


def weighted(unet: torch.nn.Module, name: str, weight: float) -> None:
    """Draw with one of the loaded LoRAs; 0 is a weight, not its absence."""
    unet.set_adapters([name], weights=[weight])


def nearest_look(pictures: torch.Tensor, plain: list[np.ndarray]) -> list[str]:
    """For each picture: which look of its ``plain`` twin is nearest to it ('' is the twin itself)."""
    looks = {"": lambda picture: picture, **{name: look.draw for name, look in LORA_LOOKS.items()}}
    drawn = [features(to_tensor([draw(p) for p in plain]) / 2 + 0.5) for draw in looks.values()]
    distances = torch.stack([(features(pictures) - d).norm(dim=1) for d in drawn])
    return [list(looks)[i] for i in distances.argmin(0).tolist()]


def share(found: list[str], name: str) -> float:
    return float(np.mean([f == name for f in found]))


def lora_rows(model: Generator, folder: Path) -> list[Row]:
    """Each LoRA from noise at 1 and 4 steps and from photos; weights 0, 0.5 and 1."""
    held = scenes(32, canonical=True)
    captions, plain = [s.caption for s in held], [s.image for s in held]
    photos = to_tensor(list(sample_photos().values())) / 2 + 0.5
    camera = [(prompt, photos[i : i + 1]) for prompt in GREETERS for i in range(len(photos))]
    said, start = [prompt for prompt, _ in camera], torch.cat([photo for _, photo in camera])
    without = {steps: batched(model, captions, steps, SEED) for steps in (1, 4)}
    from_photos = {strength: model(said, 2, SEED, start, strength) for strength in (0.5, 0.8)}
    rows, shown = [], [batched(model, list(SHOWN), 2, SEED)]
    pipeline = StableDiffusionPipeline.from_pretrained(POCKET, unet=model.unet, safety_checker=None)
    for name in LORA_LOOKS:
        pipeline.load_lora_weights(folder / f"{name}.safetensors", adapter_name=name)
        weighted(model.unet, name, 0.0)
        off = float((batched(model, captions, 4, SEED) - without[4]).abs().max())
        weighted(model.unet, name, 0.5)
        half = batched(model, captions, 4, SEED)
        weighted(model.unet, name, 1.0)
        full = {steps: batched(model, captions, steps, SEED) for steps in (1, 4)}
        obeyed = {steps: share(nearest_look(full[steps], plain), name) for steps in full}
        changed = {
            s: share(nearest_look(model(said, 2, SEED, start, s), to_uint8(p)), name) for s, p in from_photos.items()
        }
        way, whole = (features(p) - features(without[4]) for p in (half, full[4]))
        along = float(((way * whole).sum(1) / (whole**2).sum(1)).mean())
        rows += [
            Row(f"{name}: nearest look, 1 step / 4 steps", "90 %", f"{obeyed[1]:.1%} / {obeyed[4]:.1%}"),
            Row(f"{name}: from photos, strength 0.5 / 0.8, 2 steps", "", f"{changed[0.5]:.1%} / {changed[0.8]:.1%}"),
            Row(f"{name}: weight 0 against none, largest difference", "0", f"{off:.1e}"),
            Row(f"{name}: weight 0.5, share of the way", "between", f"{along:.2f}"),
        ]  # fmt: skip
        shown += [batched(model, list(SHOWN), 2, SEED)]
        sheet(torch.cat([start[:8], from_photos[0.5][:8], model(said, 2, SEED, start, 0.5)[:8],
                         model(said, 2, SEED, start, 0.8)[:8]]), 8, SHEETS / f"lora_{name}_photos.png")  # fmt: skip
        pipeline.unload_lora_weights()
    sheet(torch.cat(shown), len(SHOWN), SHEETS / "loras.png")
    return rows


def f1(found: np.ndarray, asked: np.ndarray) -> float:
    """Of two edge maps: harmonic mean of the shares of each that lie within ``TOLERANCE`` of the other."""

    def near(some: np.ndarray, other: np.ndarray) -> float:
        if not some.any() or not other.any():
            return 0.0
        distance = cv2.distanceTransform(np.where(other > 0, 0, 255).astype(np.uint8), cv2.DIST_L2, 5)
        return float((distance[some > 0] <= TOLERANCE).mean())

    precision, recall = near(found, asked), near(asked, found)
    return 2 * precision * recall / max(1e-9, precision + recall)


def control_rows(model: Generator, folder: Path) -> list[Row]:
    """The edges of what is drawn against those of held-out scenes with things anywhere."""
    control = ControlNetModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    held, rng = scenes(48, canonical=False), random.Random(SEED)
    captions, asked = [s.caption for s in held], [edges(s.image) for s in held]

    def drawn(maps: list[np.ndarray], steps: int, weight: float = 1.0) -> torch.Tensor:
        guided = dataclasses.replace(model, unet=Controlled(model.unet, control, as_hint(maps), weight))
        return guided(captions, steps, SEED)

    def score(pictures: torch.Tensor) -> float:
        return float(np.mean([f1(edges(p), a) for p, a in zip(to_uint8(pictures), asked, strict=True)]))

    with torch.no_grad():
        codec = model.decode(model.encode(to_tensor([s.image for s in held]) / 2 + 0.5))
        free = {steps: model(captions, steps, SEED) for steps in (1, 4)}
        bound = {steps: drawn(asked, steps) for steps in (1, 2, 4)}
        hands = [by_hand(a, rng) for a in asked]
        by_hands = drawn(hands, 2)
        off = float((drawn(asked, 4, 0.0) - free[4]).abs().max())
    some = slice(0, 12)
    sheet(torch.cat([
        to_tensor([s.image for s in held[some]]) / 2 + 0.5, as_hint(asked[some]), free[1][some], bound[1][some],
        bound[4][some], as_hint(hands[some]), by_hands[some],
    ]), 12, SHEETS / "control.png")  # fmt: skip
    return [
        Row("lines obeyed, F1 (2 px), 1 / 2 / 4 steps", "0.6", " / ".join(f"{score(bound[s]):.2f}" for s in bound)),
        Row("the same without control, 1 / 4 steps", "half", f"{score(free[1]):.2f} / {score(free[4]):.2f}"),
        Row("the scenes themselves through the codec", "", f"{score(codec):.2f}"),
        Row("lines drawn by hand, 2 steps, against the true edges", "", f"{score(by_hands):.2f}"),
        Row("weight 0 against none, largest difference", "0", f"{off:.1e}"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loras", type=Path, default=POCKET / "loras")
    parser.add_argument("--control", type=Path, default=POCKET / "controlnet")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_shipped()
    rows = lora_rows(model, args.loras)
    if args.control.exists():
        rows += control_rows(model, args.control)
    for row in rows:
        print(f"| {row.what} | {row.ships} | {row.measured} |", flush=True)


if __name__ == "__main__":
    main()
