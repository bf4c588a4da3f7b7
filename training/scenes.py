"""Scenes on the fly: one or two drawn things on a background, the caption that says so, and a rough ``source``.

Every scene comes twice: ``image`` is what the caption promises, ``source`` is what somebody might hold in front of
the model to get there (a doodle of filled shapes, a blurred or recoloured picture, a blob before an unrelated
photo). The denoiser learns to pull noised sources towards the image, which is what live img2img asks of it
(SDEdit, 2108.01073, shows why noise alone does not bridge a large gap at low strength).

Canonical scenes have one answer to the last pixel: the thing in the middle at one size, nothing jittered, every star
in its place. They are what the model sees at the noisiest timesteps, where nothing but the words is left and the best
guess is a mean: over placements that differ by one pixel, it is a mean of latents that decodes to blotches.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np

from training.backdrops import SIZE, gradient, jittered, landscape, space, texture
from training.concepts import COLOURS, CONCEPTS, GROUND_WORDS, GROUNDS, SKIES, STYLE_WORDS, Concept, with_article
from training.doodles import Doodler
from training.looks import compose

HORIZON = 0.64
CANONICAL_SIDE = 0.785
STYLE_SHARES = {"3d": 0.52, "cartoon": 0.3, "watercolor": 0.18}
FILLERS = ("cute", "small", "big", "happy", "beautiful", "funny", "nice", "little", "colorful", "shiny")
TAILS = (
    "highly detailed",
    "digital art",
    "masterpiece",
    "best quality",
    "illustration",
    "cute",
    "icon",
    "4k",
)


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Float 0..255 to uint8, clipped."""
    return np.clip(picture, 0, 255).astype(np.uint8)


@dataclass
class Scene:
    """``image`` and ``source`` [128, 128, 3] uint8; ``background`` is the colour or scenery word ('' if none)."""

    image: np.ndarray
    source: np.ndarray
    caption: str
    names: tuple[str, ...]
    style: str
    background: str
    canonical: bool


@dataclass
class Layout:
    """Where one thing goes: centre and side as fractions of the picture."""

    x: float
    y: float
    side: float
    flip: bool = False


@dataclass
class Placed:
    """One thing where it stands: colour [128, 128, 3] premultiplied by alpha [128, 128, 1], both float32."""

    icon: str
    at: Layout
    colour: np.ndarray
    alpha: np.ndarray


class Composer:
    """Draws scenes from ``icons`` {(style, icon name): [128, 128, 4] uint8} and ``photos`` [n, h, w, 3] uint8."""

    def __init__(self, icons: dict[tuple[str, str], np.ndarray], photos: list[np.ndarray], seed: int) -> None:
        self.icons, self.photos = icons, photos
        self.rng = random.Random(seed)
        self.concepts = [c for c in CONCEPTS if all((s, c.icon) in icons for s in ("3d", "flat"))]
        self.doodler = Doodler(icons)

    # -- parts ---------------------------------------------------------------------------------------------------

    def photo(self) -> np.ndarray:
        """A crop of a freely licensed picture or a synthetic texture, [128, 128, 3] float32."""
        rng = self.rng
        if not self.photos or rng.random() < 0.4:
            return np.clip(texture(rng), 0, 255)
        picture = rng.choice(self.photos)
        side = rng.randint(min(SIZE, min(picture.shape[:2])), min(picture.shape[:2]))
        y, x = rng.randint(0, picture.shape[0] - side), rng.randint(0, picture.shape[1] - side)
        crop = cv2.resize(picture[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        return (crop[:, ::-1] if rng.random() < 0.5 else crop).astype(np.float32)

    def background(self, canonical: bool) -> tuple[np.ndarray, str, str, float | None]:
        """(pixels, caption phrase, background word, horizon or None for a plain one)."""
        rng, spread = self.rng, 0 if canonical else 10
        details = random.Random(7) if canonical else rng  # stars and the like
        kind = rng.random()
        if kind < 0.47:
            name = rng.choice(list(COLOURS))
            colour = jittered(COLOURS[name], rng, spread)
            phrase = rng.choice(
                [f"on a {name} background", f"on a {name} background", f", {name} background", f"on {name}"]
            )
            return gradient(colour, colour, SIZE), phrase, name, None
        if kind < 0.54:
            return space(details), rng.choice(["in space", "in outer space"]), "space", None
        if kind < 0.64:  # nothing said: white from pure noise, whatever the source shows otherwise
            if canonical:
                return gradient((255, 255, 255), (255, 255, 255), SIZE), "", "", None
            top = [rng.uniform(30, 255) for _ in range(3)]
            bottom = [min(255.0, max(0.0, c + rng.uniform(-50, 50))) for c in top]
            return gradient(top, bottom, SIZE), "", "", None  # type: ignore[arg-type]
        sky, ground = rng.choice(["blue sky", *SKIES]), rng.choice(["grass", *GROUNDS])
        word = rng.choice(GROUND_WORDS[ground])
        if sky == "blue sky" and rng.random() < 0.7:
            phrase = f"on {word}"
        else:
            phrase = rng.choice([f"on {word} under a {sky}", f"on {word}, {sky}"])
        horizon = HORIZON if canonical else rng.uniform(0.52, 0.78)
        return landscape(details, sky, ground, horizon, spread), phrase, f"{ground}/{sky}", horizon

    def layouts(self, count: int, canonical: bool, horizon: float | None) -> list[Layout]:
        rng = self.rng
        loose = 0.0 if canonical else 0.05
        if count == 2:
            side = 0.47 if canonical else rng.uniform(0.36, 0.54)
            y = 0.5 if horizon is None else horizon + 0.12 - side / 2
            return [Layout(x + rng.uniform(-loose, loose), y + rng.uniform(-loose, loose), side) for x in (0.26, 0.74)]
        if canonical:
            return [Layout(0.5, 0.5, CANONICAL_SIDE)]
        side = rng.uniform(0.42, 0.95)
        slack = max(0.04, (1 - side) / 2)
        y = 0.5 + rng.uniform(-slack, slack) if horizon is None else min(0.98 - side / 2, horizon + 0.16 - side / 2)
        return [Layout(0.5 + rng.uniform(-slack, slack), y, side, rng.random() < 0.5)]

    def place(self, icon: np.ndarray, at: Layout) -> tuple[np.ndarray, np.ndarray]:
        """The drawing on an empty picture: colour [128, 128, 3] and alpha [128, 128, 1], both float32."""
        side = max(8, round(at.side * SIZE))
        drawing = icon[:, ::-1] if at.flip else icon
        premultiplied = drawing.astype(np.float32)
        premultiplied[..., :3] *= premultiplied[..., 3:] / 255
        small = cv2.resize(premultiplied, (side, side), interpolation=cv2.INTER_AREA)
        full = np.zeros((SIZE, SIZE, 4), np.float32)
        x0, y0 = round(at.x * SIZE - side / 2), round(at.y * SIZE - side / 2)
        left, top, right, bottom = max(0, x0), max(0, y0), min(SIZE, x0 + side), min(SIZE, y0 + side)
        full[top:bottom, left:right] = small[top - y0 : bottom - y0, left - x0 : right - x0]
        return full[..., :3], full[..., 3:] / 255

    # -- sources ---------------------------------------------------------------------------------------------------

    def patches(self, colour: np.ndarray, alpha: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
        """One thing as ``cells`` x ``cells`` soft-edged patches of its own colours, hard-cut at its outline."""
        both = cv2.resize(np.concatenate([colour, alpha], 2), (cells, cells), interpolation=cv2.INTER_AREA)
        big = cv2.resize(both, (SIZE, SIZE), interpolation=self.rng.choice([cv2.INTER_CUBIC, cv2.INTER_LINEAR]))
        hard = (big[..., 3:] > 0.45).astype(np.float32)
        return hard * big[..., :3] / np.maximum(big[..., 3:], 0.2), hard

    def _rough_thing(self, thing: Placed) -> tuple[np.ndarray, np.ndarray]:
        """A stand-in for one thing, premultiplied colour and alpha: a doodle, silhouette, patches, a blob or a blur."""
        rng, kind, colour, alpha = self.rng, self.rng.random(), thing.colour, thing.alpha
        if kind < 0.35:
            return self.doodler.draw(thing.icon, thing.at.x, thing.at.y, thing.at.side, thing.at.flip, rng)
        kind = rng.random()
        mass = alpha.sum() + 1e-3
        mean = colour.sum((0, 1)) / mass
        if kind < 0.15:
            sigma = rng.uniform(2, 7)
            return cv2.GaussianBlur(colour, (0, 0), sigma), cv2.GaussianBlur(alpha, (0, 0), sigma)[..., None]
        if kind < 0.35:  # filled outline
            return alpha * (mean + np.float32([rng.gauss(0, 18) for _ in range(3)])), alpha
        if kind < 0.5:  # soft patches, as a small or blurred picture of it
            return self.patches(colour, alpha, rng.randint(5, 12))
        ys, xs = np.nonzero(alpha[..., 0] > 0.3)
        if len(ys) == 0:
            return colour, alpha
        centre = (
            (xs.min() + xs.max()) // 2 + rng.randint(-5, 5),
            (ys.min() + ys.max()) // 2 + rng.randint(-5, 5),
        )
        half = (
            int((np.ptp(xs) / 2 + 1) * rng.uniform(0.7, 1.1)),
            int((np.ptp(ys) / 2 + 1) * rng.uniform(0.7, 1.15)),
        )
        blob = np.zeros((SIZE, SIZE), np.float32)
        cv2.ellipse(blob, [int(c) for c in centre], half, rng.uniform(-15, 15), 0, 360, 1.0, -1, cv2.LINE_AA)
        if kind < 0.85:  # a head before the camera: skin, dark top, some features
            fill = mean if rng.random() < 0.35 else np.float32((225, 175, 145)) * rng.uniform(0.35, 1.1)
            out = np.broadcast_to(np.float32(fill), (SIZE, SIZE, 3)).copy()
            if rng.random() < 0.5:
                out[: int(centre[1] - half[1] * rng.uniform(0.3, 0.6))] = rng.uniform(15, 120)
            for dx in (-0.35, 0.35):
                eye = (int(centre[0] + dx * half[0]), int(centre[1] - 0.1 * half[1]))
                cv2.circle(out, eye, max(1, half[0] // 9), (50, 40, 40), -1)
            return out * blob[..., None], blob[..., None]
        fill = np.float32([rng.uniform(0, 255) for _ in range(3)])
        return fill * blob[..., None], blob[..., None]

    def source(self, back: np.ndarray, things: list[Placed], canonical: bool) -> np.ndarray:
        """A rough or unrelated picture to start from, [128, 128, 3] float32."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.34:
            out = back.copy()
        elif kind < 0.6:
            plain = (255.0,) * 3 if rng.random() < 0.6 else tuple(rng.uniform(0, 255) for _ in range(3))
            out = gradient(plain, plain, SIZE)  # type: ignore[arg-type]
        else:
            out = self.photo()
        # a canonical target may follow from nothing at all; a placed one must leave a trace of its place
        if not (canonical and rng.random() < 0.3):
            for thing in things:
                rough, cover = self._rough_thing(thing)
                out = out * (1 - cover) + rough
        if rng.random() < 0.35:
            out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.7, 4))
        if rng.random() < 0.4:
            gain = np.float32([rng.uniform(0.7, 1.25) for _ in range(3)])
            out = out * gain + rng.uniform(-30, 30)
        return out

    # -- the whole -------------------------------------------------------------------------------------------------

    def caption(self, concepts: list[Concept], phrase: str, style: str) -> str:
        rng = self.rng
        words = []
        for concept in concepts:
            word = concept.name if rng.random() < 0.8 else rng.choice(concept.words)
            if rng.random() < 0.08:
                word = f"{rng.choice(FILLERS)} {word}"
            words.append(word if rng.random() < 0.2 else with_article(word))
        text = " and ".join(words)
        if phrase:
            text += phrase if phrase.startswith(",") else f" {phrase}"
        if rng.random() < 0.08:
            text += f", {rng.choice(TAILS)}"
        # an unnamed style is always the first one, so that bare prompts have one answer rather than a blend
        if style == "3d" and rng.random() < 0.75:
            return text
        say = STYLE_WORDS[style][0] if rng.random() < 0.6 else rng.choice(STYLE_WORDS[style])
        if style != "3d" and rng.random() < 0.35:
            return f"{say if rng.random() < 0.5 else with_article(say)} of {text}"
        return f"{text}, {say}"

    def one(self, canonical: bool) -> Scene:
        rng = self.rng
        style = rng.choices(list(STYLE_SHARES), list(STYLE_SHARES.values()))[0]
        chosen = rng.sample(self.concepts, 1 if rng.random() < 0.95 else 2)
        back, phrase, word, horizon = self.background(canonical)
        ground, things = back.copy(), []
        whole = np.zeros((SIZE, SIZE, 4), np.float32)
        for concept, at in zip(chosen, self.layouts(len(chosen), canonical, horizon), strict=True):
            colour, alpha = self.place(self.icons["3d", concept.icon], at)
            if horizon is not None:
                shade = np.ones((SIZE, SIZE, 1), np.float32)
                foot = (int(at.x * SIZE), int((at.y + at.side * 0.46) * SIZE))
                cv2.ellipse(shade, foot, (int(at.side * SIZE * 0.4), 5), 0, 0, 360, 0.72, -1, cv2.LINE_AA)
                ground *= shade
            whole = whole * (1 - alpha) + np.concatenate([colour, alpha], 2)
            things.append(Placed(concept.icon, at, colour, alpha))
        image = compose(style, ground, whole[..., :3], whole[..., 3:])
        source = self.source(back, things, canonical)
        names = tuple(c.name for c in chosen)
        return Scene(
            to_bytes(image),
            to_bytes(source),
            self.caption(chosen, phrase, style),
            names,
            style,
            word,
            canonical,
        )
