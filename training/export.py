"""Stage 6, ``python -m training.export``: the newest checkpoints as a diffusers folder, safetensors in fp16.

Takes the distilled UNet where there is one, else the teacher's average; the polished decoder where there is one.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPImageProcessor, CLIPTextModel

from training.chinese import SCENERY, chinese_names
from training.clip import CHECKPOINT as CLIP
from training.clip import MEAN, SIDE, STD
from training.clip import build as build_clip
from training.common import CACHE, POCKET, load_checkpoint
from training.concepts import BACKGROUND_WORDS, COLOURS, CONCEPTS, STYLE_WORDS, STYLES
from training.diffusion import CHECKPOINT as DIFFUSION
from training.diffusion import build_unet
from training.generate import Generator
from training.noising import scheduler
from training.scenes import FILLERS, TAILS
from training.vae import load as load_vae
from training.words import FOLDER, build_text_model, load_tokenizer

DISTILLED = CACHE / "distill.pt"
DECODER = CACHE / "vae_decoder.pt"


def _newest(distilled: bool) -> dict:
    state = (load_checkpoint(DISTILLED) if distilled else None) or load_checkpoint(DIFFUSION)
    if state is None:
        raise FileNotFoundError("run `python -m training.diffusion` first")
    return state


def load_text(distilled: bool = True) -> CLIPTextModel:
    """The averaged text tower, frozen."""
    text = build_text_model(load_tokenizer())
    text.load_state_dict(_newest(distilled)["text_average"])
    return text.eval().requires_grad_(False)


def load_generator(distilled: bool = True) -> Generator:
    """The checkpoints' model on the CPU, ready to draw."""
    unet = build_unet()
    unet.load_state_dict(_newest(distilled)["unet_average"])
    vae = load_vae().cpu()
    polished = load_checkpoint(DECODER)
    if polished:
        vae.load_state_dict(polished["vae"])
    return Generator(unet.eval().requires_grad_(False), load_text(distilled), vae, load_tokenizer())


def export(folder: Path, distilled: bool) -> None:
    parts = load_generator(distilled)
    pipeline = StableDiffusionPipeline(
        vae=parts.vae.half(), text_encoder=parts.text.half(), tokenizer=parts.tokenizer, unet=parts.unet.half(),
        scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.rmtree(folder / part, ignore_errors=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    for name in (
        "vocab.json",
        "merges.txt",
    ):  # the plain files too: older readers of CLIP's tokenizer want them
        shutil.copy(FOLDER / name, folder / "tokenizer" / name)
    export_clip(folder / "image_encoder")
    (folder / "concepts.json").write_text(json.dumps(concept_list(), ensure_ascii=False, indent=1) + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")


def concept_list() -> dict:
    """What the model knows, for the app: things with all their names, scenery, styles, every single word."""
    chinese = chinese_names()
    things = [{"name": c.name, "synonyms": list(c.synonyms), **chinese[c.name]} for c in CONCEPTS]
    phrases = (
        [w for c in CONCEPTS for w in c.words]
        + BACKGROUND_WORDS
        + [w for words in STYLE_WORDS.values() for w in words]
        + list(FILLERS)
        + list(TAILS)
    )
    little = ["a", "an", "and", "on", "in", "the", "under", "outer", "of"]
    words = sorted({word for phrase in phrases for word in phrase.split()} | set(little))
    scenery = [{"name": name, "zh": [zh], "zh-Hant": [hant]} for name, (zh, hant) in SCENERY.items()]
    return {
        "concepts": things, "backgrounds": BACKGROUND_WORDS, "colours": list(COLOURS),
        "styles": list(STYLES.values()), "scenery": scenery, "vocabulary": words,
    }  # fmt: skip


def export_clip(folder: Path) -> None:
    """The image tower with its text side as one ``CLIPModel``, and the processor that feeds it."""
    state = load_checkpoint(CLIP)
    if state is None:
        return
    model = build_clip(load_text())
    model.load_state_dict(state["average"])
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder, safe_serialization=True)
    CLIPImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(folder)
    load_tokenizer().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=POCKET)
    parser.add_argument("--teacher", action="store_true", help="ship the undistilled weights")
    args = parser.parse_args()
    torch.set_num_threads(1)
    export(args.to, not args.teacher)


if __name__ == "__main__":
    main()
