"""Stage 5, ``python -m training.clip``: a small image tower beside the frozen text tower, as one ``CLIPModel``.

Trained by classification over sentences, as CLIP (2103.00020) is used: things, scenery and style words are each a set
of sentences to choose from. Hundreds of other things, drawn by several hands each, teach it what a change of hand
leaves alone. One hand is never shown: naming things drawn by it is the test. Resumes from ``cache/clip.pt``.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPVisionConfig

from training.common import (
    CACHE,
    Average,
    Progress,
    Threads,
    device,
    load_checkpoint,
    save_checkpoint,
    seed_everything,
    warm_cosine,
)
from training.concepts import COLOURS, CONCEPTS, GROUNDS, STYLES, with_article
from training.data import FAMILIES, TOWER_SETS, composer, load_icons, load_others, load_photos
from training.looks import LOOKS, compose
from training.scenes import Composer, Scene
from training.words import token_ids

CHECKPOINT = CACHE / "clip.pt"
SIDE = 64
HELD_OUT = "noto"
MEAN = STD = (0.5, 0.5, 0.5)
DRAWN_SHARE = 0.12  # the denoiser's own pictures, which the app asks about
OTHERS_SHARE = 0.25  # of a batch: things outside the list, told apart by a table that is thrown away
BACKGROUNDS = [*(f"on a {c} background" for c in COLOURS), *(f"on {g}" for g in GROUNDS), "in space"]


def build(text: CLIPTextModel) -> CLIPModel:
    """4 layers, 128 wide, patches of 8 pixels at 64 x 64; the text side is a frozen copy of the denoiser's."""
    vision = CLIPVisionConfig(
        hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4, image_size=SIDE,
        patch_size=8, projection_dim=128,
    )  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text.config.to_dict(), vision_config=vision.to_dict(), projection_dim=128))
    read_as(model, text)
    return model


def read_as(model: CLIPModel, text: CLIPTextModel) -> None:
    """Give ``model`` a frozen copy of this text tower: after resuming too, as distilling may have trained it on."""
    inner = getattr(model.text_model, "text_model", model.text_model)
    inner.load_state_dict(getattr(text, "text_model", text).state_dict())
    inner.requires_grad_(False)


def sentences() -> tuple[list[str], list[str], list[str]]:
    """What can be said of a picture: the thing, where it is, how it is drawn."""
    return [with_article(c.name) for c in CONCEPTS], BACKGROUNDS, list(STYLES.values())


def distort(icon: np.ndarray, rng: random.Random) -> np.ndarray:
    """A drawing turned, bent, scaled and recoloured, same shape, uint8: what other artists might have done."""
    size = icon.shape[0]
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), rng.gauss(0, 10), rng.uniform(0.8, 1.1))
    shear = np.float32([[1, rng.gauss(0, 0.12), 0], [rng.gauss(0, 0.08), rng.uniform(0.8, 1.2), 0]])
    shear[:, 2] = size / 2 - shear[:, :2] @ np.float32([size / 2, size / 2])
    both = (np.vstack([shear, [0, 0, 1]]) @ np.vstack([turn, [0, 0, 1]]))[:2]
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, size * rng.uniform(0, 0.025), (2, 4, 4))
    bend = [cv2.resize(n.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC) for n in noise]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    inverse = cv2.invertAffineTransform(both).astype(np.float32)
    from_x = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] + bend[0]
    from_y = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] + bend[1]
    out = cv2.remap(icon, from_x, from_y, cv2.INTER_LINEAR).astype(np.float32)
    colour = out[..., :3]
    if rng.random() < 0.7:
        colour = (colour - 128) * rng.uniform(0.55, 1.35) + 128 + np.float32([rng.gauss(0, 25) for _ in range(3)])
    if rng.random() < 0.12:  # as another animal or fruit of its kind might be coloured
        colour = colour[..., rng.sample(range(3), 3)]
    if rng.random() < 0.12:
        colour = np.repeat(colour.mean(-1, keepdims=True), 3, -1)
    colour = np.clip(colour, 0, 255)
    if rng.random() < 0.35:  # lose shading or outline
        colour = cv2.medianBlur(colour.astype(np.uint8), rng.choice([3, 5])).astype(np.float32)
    out[..., :3] = colour
    if rng.random() < 0.25:  # or gain an outline
        body = (out[..., 3] > 128).astype(np.uint8)
        rim = (body - cv2.erode(body, np.ones((3, 3)))).astype(bool)
        out[rim, :3] = rng.choice([(40, 30, 30), (90, 60, 40), (20, 20, 20)])
    return out.astype(np.uint8)


@dataclass
class Answers:
    """Pictures [N, 3, 64, 64] normalised and what is true of each, -1 where nothing is known."""

    pictures: torch.Tensor
    thing: torch.Tensor
    background: torch.Tensor
    style: torch.Tensor
    other: torch.Tensor


@torch.no_grad()
def own_drawings(count: int, seed: int) -> list[tuple[np.ndarray, Scene]]:
    """What the denoiser itself draws of captions in 1, 2 or 4 steps, [64, 64, 3] in 0..255: one more hand to know."""
    from training.export import load_generator

    model, source, out = load_generator(), composer(seed), []
    while len(out) < count:
        scenes = [s for s in (source.one(canonical=True) for _ in range(36)) if len(s.names) == 1]
        made = model([s.caption for s in scenes], (1, 2, 2, 4)[len(out) // 32 % 4], seed + len(out))
        small = F.interpolate(made, (SIDE, SIDE), mode="area").permute(0, 2, 3, 1).numpy() * 255
        out += list(zip(small, scenes, strict=True))
    return out


class Pictures:
    """Varied single-thing scenes by many hands, with their answers."""

    def __init__(self, seed: int, drawn: list[tuple[np.ndarray, Scene]]) -> None:
        self.drawn, self.numbers = drawn, {c.name: i for i, c in enumerate(CONCEPTS)}
        icons, others = load_icons(), load_others()
        self.composer, self.rng = Composer(icons, load_photos(), seed), random.Random(seed)
        self.things = [{s: icons[s, c.icon] for s in TOWER_SETS if (s, c.icon) in icons} for c in CONCEPTS]
        self.names = sorted({name for _, name in others})
        self.others = [{s: others[s, n] for s in TOWER_SETS if (s, n) in others} for n in self.names]

    def drawing(self, by_set: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
        """A design family first, then a set of it: the largest family must not be all that is seen."""
        family = self.rng.choice([f for f in FAMILIES if f in by_set])
        same_hand = [s for s in ("3d", "flat", "fluent", "contrast") if s in by_set]
        chosen = self.rng.choice(same_hand) if family == "flat" else family
        return chosen, by_set[chosen]

    def one(self, by_set: dict[str, np.ndarray]) -> tuple[np.ndarray, str, str]:
        """(picture [64, 64, 3] in 0..255, background word, style or '')."""
        rng, canonical = self.rng, self.rng.random() < 0.5
        back, _, word, horizon = self.composer.background(canonical)
        if rng.random() < 0.15:
            back, word, horizon = self.composer.photo(), "?", None
        at = self.composer.layouts(1, canonical, horizon)[0]
        if canonical:
            at.side *= rng.uniform(0.85, 1.2)
        drawn, icon = self.drawing(by_set)
        look = rng.choices(LOOKS, [0.8, 0.1, 0.1])[0]
        picture = compose(look, back, *self.composer.place(distort(icon, rng), at))
        if look == "3d":
            look = {"3d": "3d", "fluent": "3d"}.get(drawn, "")
        small = cv2.resize(np.clip(picture, 0, 255), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.2:  # as soft as the model's own pictures
            small = cv2.GaussianBlur(small, (0, 0), rng.uniform(0.4, 1.3))
        return small, word, look

    def batch(self, count: int) -> Answers:
        pictures, answers = [], []
        for i in range(count):
            is_other = i < OTHERS_SHARE * count
            pool = self.others if is_other else self.things
            number = self.rng.randrange(len(pool))
            if i >= (1 - DRAWN_SHARE) * count:
                picture, scene = self.rng.choice(self.drawn)
                number, word, look = self.numbers[scene.names[0]], scene.background, scene.style
            else:
                picture, word, look = self.one(pool[number])
            place = f"on {word.split('/')[0]}" if "/" in word else f"on a {word} background"
            phrase = "in space" if word == "space" else place
            pictures.append(picture)
            answers.append((
                -1 if is_other else number,
                BACKGROUNDS.index(phrase) if phrase in BACKGROUNDS else -1,
                list(STYLES).index(look) if look else -1,
                number if is_other else -1,
            ))  # fmt: skip
        tensor = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return Answers(tensor, *torch.tensor(answers).unbind(1))


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
    scores = image_embeddings(model, pictures.to(device())) @ text_embeddings(model, things).T
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
    text = load_text()
    model = build(text)
    if state:
        model.load_state_dict(state["model"])
        read_as(model, text)
    model.to(device())
    with torch.no_grad():
        ids = [token_ids(tokenizer, s).to(device()) for s in sentences()]
        read = [model.text_model(input_ids=group).pooler_output for group in ids]  # the reader is frozen
    pictures = Pictures(step + 9, own_drawings(900, step + 90))
    progress, saved = Progress(step, args.steps, args.batch), time.monotonic()
    table = nn.Embedding(len(pictures.names), model.config.projection_dim).to(device())
    seer = [*model.vision_model.parameters(), *model.visual_projection.parameters(), *table.parameters()]
    seer += [*model.text_projection.parameters(), model.logit_scale]
    optimizer = torch.optim.AdamW(seer, lr=args.rate, weight_decay=0.05)
    average = Average([model], decay=0.995)
    if state:
        if "optimizer" in state:
            table.load_state_dict(state["table"])
            optimizer.load_state_dict(state["optimizer"])
        average.modules[0].load_state_dict(state["average"])
        read_as(average.modules[0], text)

    def keep() -> None:
        save_checkpoint(CHECKPOINT, {
            "step": step, "model": model.state_dict(), "table": table.state_dict(),
            "average": average.modules[0].state_dict(), "optimizer": optimizer.state_dict(),
        })  # fmt: skip

    note = ""
    while step < args.steps:
        for group in optimizer.param_groups:
            group["lr"] = warm_cosine(step, args.steps, args.rate, hold=0.3)
        batch = pictures.batch(args.batch)
        with torch.autocast(device().type, torch.bfloat16):
            images = image_embeddings(model, batch.pictures.to(device())).float()
        scale, loss = model.logit_scale.exp().clamp(max=60), torch.zeros((), device=device())
        choices = [F.normalize(model.text_projection(words), dim=-1) for words in read]
        choices.append(F.normalize(table.weight, dim=-1))
        truths = (batch.thing, batch.background, batch.style, batch.other)
        for choice, truth, weight in zip(choices, truths, (1.0, 0.2, 0.1, 0.25), strict=True):
            logits, answer = scale * images @ choice.T, truth.to(device())
            if (answer >= 0).any():
                loss = loss + weight * F.cross_entropy(logits, answer, ignore_index=-1, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(seer, 1.0)
        optimizer.step()
        step += 1
        average.update(step)
        if step % 250 == 0:
            note = f"held-out hand named right {held_out_accuracy(average.modules[0], ids[0]):.3f}"
        progress.update(step, loss.item(), f"{note} threads {threads.usual}")
        threads.step()
        if time.monotonic() - saved > 120:
            keep()
            saved = time.monotonic()
    keep()


if __name__ == "__main__":
    main()
