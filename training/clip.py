"""Stage 5, ``python -m training.clip``: a small image tower beside the frozen text tower, as one ``CLIPModel``.

Trained by classification over sentences, as CLIP (2103.00020) is used: things, scenery and style words are each a set
of sentences to choose from. One drawing style is never shown: naming things drawn in it is the test. Resumes from
``cache/clip.pt``.
"""

from __future__ import annotations

import argparse
import random
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPVisionConfig

from training.common import (
    CACHE,
    Progress,
    Threads,
    device,
    load_checkpoint,
    save_checkpoint,
    seed_everything,
    warm_cosine,
)
from training.concepts import COLOURS, CONCEPTS, GROUNDS, STYLES, with_article
from training.data import load_icons, load_photos
from training.scenes import Composer
from training.words import token_ids

CHECKPOINT = CACHE / "clip.pt"
SIDE = 64
HELD_OUT = "noto"
TRAINED = (
    "3d",
    "flat",
    "fluent",
    "twemoji",
    "fx",
)  # noto-v1 is left out too: an earlier drawing of the held-out set
MEAN = STD = (0.5, 0.5, 0.5)
BACKGROUNDS = [*(f"on a {c} background" for c in COLOURS), *(f"on {g}" for g in GROUNDS), "in space"]


def build(text: CLIPTextModel) -> CLIPModel:
    """4 layers, 128 wide, patches of 8 pixels at 64 x 64; the text side is a frozen copy of the denoiser's."""
    vision = CLIPVisionConfig(
        hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, image_size=SIDE,
        patch_size=8, projection_dim=128,
    )  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text.config.to_dict(), vision_config=vision.to_dict(), projection_dim=128))
    inner = getattr(model.text_model, "text_model", model.text_model)
    inner.load_state_dict(getattr(text, "text_model", text).state_dict())
    inner.requires_grad_(False)
    return model


def sentences() -> tuple[list[str], list[str], list[str]]:
    """What can be said of a picture: the thing, where it is, how it is drawn."""
    return [with_article(c.name) for c in CONCEPTS], BACKGROUNDS, list(STYLES.values())


class Pictures:
    """Varied single-thing scenes in many styles, rotated, sheared, recoloured and cropped, with their answers."""

    def __init__(self, seed: int, styles: tuple[str, ...] = TRAINED) -> None:
        icons = load_icons()
        self.composer, self.rng = Composer(icons, load_photos(), seed), random.Random(seed)
        self.choices = [[icons[s, c.icon] for s in styles if (s, c.icon) in icons] for c in CONCEPTS]
        self.styles = [[s for s in styles if (s, c.icon) in icons] for c in CONCEPTS]

    def distort(self, icon: np.ndarray) -> np.ndarray:
        """A drawing turned, sheared, scaled and recoloured, [128, 128, 4] uint8: what other artists might have done."""
        rng, size = self.rng, icon.shape[0]
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), rng.gauss(0, 12), rng.uniform(0.75, 1.1))
        shear = np.float32([[1, rng.gauss(0, 0.12), 0], [rng.gauss(0, 0.08), rng.uniform(0.8, 1.2), 0]])
        shear[:, 2] = size / 2 - shear[:, :2] @ np.float32([size / 2, size / 2])
        out = cv2.warpAffine(cv2.warpAffine(icon, turn, (size, size)), shear, (size, size)).astype(np.float32)
        colour = out[..., :3]
        if rng.random() < 0.6:
            colour = (colour - 128) * rng.uniform(0.6, 1.3) + 128 + np.float32([rng.gauss(0, 20) for _ in range(3)])
        if rng.random() < 0.35:  # lose shading or outline
            colour = cv2.medianBlur(np.clip(colour, 0, 255).astype(np.uint8), rng.choice([3, 5, 7])).astype(np.float32)
        out[..., :3] = np.clip(colour, 0, 255)
        return out.astype(np.uint8)

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """(pictures [N, 3, 64, 64] normalised, thing, background or -1, style or -1)."""
        rng, pictures, things, backs, styles = self.rng, [], [], [], []
        for _ in range(count):
            thing = rng.randrange(len(CONCEPTS))
            pick = rng.randrange(len(self.choices[thing]))
            canonical = rng.random() < 0.5
            back, _, word, horizon = self.composer.background(canonical)
            if rng.random() < 0.15:
                back, word, horizon = self.composer.photo(), "?", None
            at = self.composer.layouts(1, canonical, horizon)[0]
            colour, alpha = self.composer.place(self.distort(self.choices[thing][pick]), at)
            picture = np.clip(back * (1 - alpha) + colour, 0, 255)
            pictures.append(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
            things.append(thing)
            phrase = (
                "in space"
                if word == "space"
                else f"on {word.split('/')[0]}"
                if "/" in word
                else f"on a {word} background"
            )
            backs.append(BACKGROUNDS.index(phrase) if phrase in BACKGROUNDS else -1)
            style = self.styles[thing][pick]
            styles.append(list(STYLES).index(style) if style in STYLES else -1)
        tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
        return tensor, torch.tensor(things), torch.tensor(backs), torch.tensor(styles)


def isolated(style: str) -> tuple[torch.Tensor, list[int]]:
    """Every concept as ``style`` draws it, on white: ([N, 3, 64, 64] normalised, concept numbers)."""
    icons, composer, pictures, truth = load_icons(), Composer(load_icons(), [], 0), [], []
    for index, concept in enumerate(CONCEPTS):
        if (style, concept.icon) in icons:
            at = composer.layouts(1, True, None)[0]
            colour, alpha = composer.place(icons[style, concept.icon], at)
            pictures.append(cv2.resize(255 * (1 - alpha) + colour, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
            truth.append(index)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1, truth


def image_embeddings(model: CLIPModel, pictures: torch.Tensor) -> torch.Tensor:
    """[N, 128] unit vectors."""
    return F.normalize(model.visual_projection(model.vision_model(pixel_values=pictures).pooler_output), dim=-1)


def text_embeddings(model: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    """[N, 128] unit vectors."""
    return F.normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output), dim=-1)


@torch.no_grad()
def held_out_accuracy(model: CLIPModel, things: torch.Tensor, style: str = HELD_OUT) -> float:
    """Share of a style's drawings that are named right among all concepts."""
    pictures, truth = isolated(style)
    model.eval()
    scores = image_embeddings(model, pictures.to(device())) @ text_embeddings(model, things).T
    model.train()
    return float((scores.argmax(1).cpu() == torch.tensor(truth)).float().mean())


def main() -> None:
    from training.export import load_text, load_tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    threads, tokenizer, state = Threads(args.threads), load_tokenizer(), load_checkpoint(CHECKPOINT)
    step = state["step"] if state else 0
    seed_everything(step + 3)
    model = build(load_text()).to(device())
    groups = [token_ids(tokenizer, s).to(device()) for s in sentences()]
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=args.rate, weight_decay=0.05)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    pictures, progress, saved = Pictures(step + 9), Progress(step, args.steps, args.batch), time.monotonic()

    def keep() -> None:
        save_checkpoint(CHECKPOINT, {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()})

    note = ""
    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, hold=0.3)
        batch, *answers = (x.to(device()) for x in pictures.batch(args.batch))
        images, scale = image_embeddings(model, batch), model.logit_scale.exp().clamp(max=60)
        loss = torch.zeros((), device=device())
        for ids, answer, weight in zip(groups, answers, (1.0, 0.3, 0.1), strict=True):
            logits = scale * images @ text_embeddings(model, ids).T
            if (answer >= 0).any():
                loss = loss + weight * F.cross_entropy(logits, answer, ignore_index=-1, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        if step % 250 == 0:
            note = f"held-out style named right {held_out_accuracy(model, groups[0]):.3f}"
        progress.update(step, loss.item(), f"{note} threads {threads.usual}")
        threads.step()
        if time.monotonic() - saved > 120:
            keep()
            saved = time.monotonic()
    keep()


if __name__ == "__main__":
    main()
