"""Stage 7, ``python -m training.evaluate``: measures the shipped weights and writes sheets to look at.

Prints the table of the model card on seeds that no training stage used, with sheets of every concept at 1, 2 and 4
steps and of img2img from doodles and photos under ``training/cache/sheets/``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel

from training.clip import HELD_OUT, held_out_accuracy, sentences
from training.common import CACHE, POCKET, psnr, sheet
from training.concepts import COLOURS, CONCEPTS, GROUNDS, SKIES, STYLES, with_article
from training.data import composer, held_out, load_icons, to_tensor
from training.doodles import Doodler
from training.generate import Generator
from training.identity import Gallery
from training.scenes import CANONICAL_SIDE
from training.vae import reconstruct, sample_photos
from training.words import token_ids

SEED = 880_000
SHEETS = CACHE / "sheets"
TRUTH = list(range(len(CONCEPTS)))


@dataclass
class Row:
    what: str
    ships: str
    measured: str


def load_shipped(folder: Path = POCKET) -> Generator:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)
    return Generator(pipeline.unet.eval(), pipeline.text_encoder.eval(), pipeline.vae.eval(), pipeline.tokenizer)


def batched(model: Generator, prompts: list[str], steps: int, seed: int, size: int = 32) -> torch.Tensor:
    parts = [prompts[i : i + size] for i in range(0, len(prompts), size)]
    return torch.cat([model(part, steps, seed + i) for i, part in enumerate(parts)])


def on_white(concepts: list[int] = TRUTH, style: str = "") -> list[str]:
    tail = f", {style}" if style else ""
    return [f"{with_article(CONCEPTS[i].name)} on a white background{tail}" for i in concepts]


def identity(model: Generator, gallery: Gallery, steps: int, seeds: int) -> torch.Tensor:
    """[seeds, concepts] bool: the nearest of all concepts is the right one."""
    rounds = [gallery.rank(batched(model, on_white(), steps, SEED + 100 * s), TRUTH) == 0 for s in range(seeds)]
    return torch.stack(rounds)


def border(pictures: torch.Tensor) -> torch.Tensor:
    """[N, 3] median colour, 0..255, of a frame 5 pixels wide: robust to a thing that touches the edge."""
    mask = torch.ones(pictures.shape[-2:], dtype=torch.bool)
    mask[5:-5, 5:-5] = False
    return pictures[..., mask].median(-1).values * 255


def nearest(colours: torch.Tensor, palette: dict[str, tuple[float, ...]]) -> list[str]:
    names = list(palette)
    return [
        names[i] for i in torch.cdist(colours, torch.tensor([palette[n] for n in names]).float()).argmin(1).tolist()
    ]


def backgrounds(model: Generator, steps: int) -> tuple[float, float]:
    """Share of plain colours and of grounds and skies that the picture's border shows."""
    things = [c.name for c in CONCEPTS][:: len(CONCEPTS) // 10][:10]
    asked = [(t, c) for t in things for c in COLOURS]
    pictures = batched(model, [f"{with_article(t)} on a {c} background" for t, c in asked], steps, SEED + 5)
    colour_hits = [a == c for a, (_, c) in zip(nearest(border(pictures), COLOURS), asked, strict=True)]
    places = [(t, g, s) for t in things[:5] for g in GROUNDS for s in SKIES]
    pictures = batched(model, [f"{with_article(t)} on {g} under a {s}" for t, g, s in places], steps, SEED + 6)
    tops, bottoms = pictures[..., :8, :].mean((2, 3)) * 255, pictures[..., -8:, :].mean((2, 3)) * 255
    hits = []
    for i, (_, ground, sky) in enumerate(places):
        dim = 0.62 if sky == "night sky" else 1.0
        lands = {g: tuple(0.82 * dim * v for v in c) for g, c in GROUNDS.items()}
        skies = {s: top for s, (top, _) in SKIES.items()}
        hits.append(nearest(bottoms[i : i + 1], lands) == [ground] and nearest(tops[i : i + 1], skies) == [sky])
    return float(np.mean(colour_hits)), float(np.mean(hits))


def styles(model: Generator, steps: int) -> float:
    """Share of pictures whose nearest reference of their own concept is in the style asked for."""
    gallery, hits = Gallery(looks=True), []
    for style, words in STYLES.items():
        pictures = batched(model, on_white(style=words), steps, SEED + 7)
        hits += [found == style for found in gallery.nearest_style(pictures, TRUTH)]
    return float(np.mean(hits))


def doodles(seed: int = SEED) -> torch.Tensor:
    """[concepts, 3, 128, 128] in [0, 1]: every concept as a few filled shapes on white (see `training.doodles`)."""
    doodler, rng, out = Doodler(load_icons()), random.Random(seed), []
    for concept in CONCEPTS:
        rough, cover = doodler.draw(concept.icon, 0.5, 0.5, CANONICAL_SIDE, False, rng)
        out.append(np.clip(255 * (1 - cover) + rough, 0, 255).astype(np.uint8))
    return to_tensor(out) / 2 + 0.5


def from_doodles(model: Generator, gallery: Gallery, steps: int, strength: float) -> tuple[float, float]:
    """Share nearer to the thing than the doodle was, and share whose nearest concept is the thing."""
    start = doodles()
    parts = [TRUTH[i : i + 32] for i in range(0, len(start), 32)]
    made = torch.cat([model(on_white(part), steps, SEED + part[0], start[part], strength) for part in parts])
    own = torch.tensor(TRUTH)[:, None]
    before, after = gallery.distances(start).gather(1, own), gallery.distances(made).gather(1, own)
    return float((after < before).float().mean()), float((gallery.rank(made, TRUTH) == 0).float().mean())


def footprint(folder: Path) -> tuple[float, float]:
    """(seconds, MB): loading the folder in a fresh process that has already imported the libraries."""
    code = (
        "import json,os,time,torch,psutil;from diffusers import StableDiffusionPipeline as P;"
        "from diffusers import AutoencoderTiny,UNet2DConditionModel,LCMScheduler;"
        "from transformers import CLIPTextModel,CLIPTokenizer;"
        "m=psutil.Process();a=m.memory_info().rss;t=time.perf_counter();"
        f"p=P.from_pretrained({str(folder)!r},safety_checker=None,torch_dtype=torch.float32);"
        "print(json.dumps([time.perf_counter()-t,(m.memory_info().rss-a)/1e6]))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout.strip().splitlines()[-1]))  # type: ignore[return-value]


def write_sheets(model: Generator) -> None:
    for steps in (1, 2, 4):
        sheet(batched(model, on_white(), steps, SEED), 11, SHEETS / f"white_{steps}.png")
    source = composer(SEED)
    prompts = [source.one(canonical=True).caption for _ in range(32)]
    sheet(torch.cat([batched(model, prompts, s, SEED) for s in (1, 4)]), 16, SHEETS / "scenes_1_4.png")
    (SHEETS / "scenes.txt").write_text("\n".join(prompts))
    rows, start = [], doodles()[:10]
    for strength in (0.3, 0.5, 0.8):
        rows += [
            start,
            model([f"{with_article(c.name)} on grass" for c in CONCEPTS[:10]], 2, SEED, start, strength),
        ]
    sheet(torch.cat(rows), 10, SHEETS / "doodles.png")
    photos = to_tensor(list(sample_photos().values())) / 2 + 0.5
    rows = []
    for prompt in ("a cat on grass", "a dog", "a robot in space", "a woman on a blue background"):
        made = [model([prompt] * 4, 2, SEED, photos, strength) for strength in (0.3, 0.5, 0.6, 0.8)]
        rows += [torch.cat([photos[i : i + 1], *(m[i : i + 1] for m in made)]) for i in range(len(photos))]
    sheet(torch.cat(rows), 20, SHEETS / "photos.png")


def table(model: Generator, folder: Path) -> tuple[list[Row], list[str]]:
    gallery = Gallery()
    four, one = identity(model, gallery, 4, 4), identity(model, gallery, 1, 4)
    known = [CONCEPTS[i].name for i in TRUTH if four[:, i].sum() >= 3]
    colours, places = backgrounds(model, 4)
    scenes, photos = held_out(48), list(sample_photos().values())
    nearer, named = from_doodles(model, gallery, 4, 0.5)
    seconds, memory = footprint(folder)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
    rows = [
        Row("concepts that pass identity (3 of 4 seeds, 4 steps)", "100", f"{len(known)} of {len(CONCEPTS)} taught"),
        Row("identity top-1, 4 steps", "70 %", f"{four.float().mean():.1%}"),
        Row("identity top-1, 1 step", "55 %", f"{one.float().mean():.1%}"),
        Row("plain background colour obeyed, 4 steps", "90 %", f"{colours:.1%}"),
        Row("ground and sky both obeyed, 4 steps", "90 %", f"{places:.1%}"),
        Row("style obeyed, 4 steps", "90 %", f"{styles(model, 4):.1%}"),
        Row(
            "VAE on held-out scenes",
            "29 dB",
            f"{psnr(*reconstruct(model.vae, [s.image for s in scenes])):.2f} dB",
        ),
        Row("VAE on real photos", "23 dB", f"{psnr(*reconstruct(model.vae, photos)):.2f} dB"),
        Row(
            "img2img from a doodle, strength 0.5: nearer to the thing",
            "60 %",
            f"{nearer:.1%} (named right {named:.1%})",
        ),
        Row("load time, memory", "3 s, 500 MB", f"{seconds:.2f} s, {memory:.0f} MB"),
        Row("size of the folder", "25 MB", f"{size:.1f} MB"),
    ]
    if (folder / "image_encoder").exists():
        tower = CLIPModel.from_pretrained(folder / "image_encoder", torch_dtype=torch.float32).eval()
        score = held_out_accuracy(tower, token_ids(model.tokenizer, sentences()[0]))
        rows.append(Row(f"image tower names a held-out style ({HELD_OUT})", "60 %", f"{score:.1%}"))
    return rows, known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=POCKET)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = load_shipped(args.folder)
    write_sheets(model)
    rows, known = table(model, args.folder)
    for row in rows:
        print(f"| {row.what} | {row.ships} | {row.measured} |")
    missing = [c.name for c in CONCEPTS if c.name not in known]
    print("does not pass:", ", ".join(missing) or "none")
    (SHEETS / "known.json").write_text(json.dumps(known))


if __name__ == "__main__":
    main()
