"""A new style: the scales and shifts of the painter's norms that make its pictures look like a given one.

The convolutions stay as they are (1610.07629, section 3.2): 990 numbers are learned, so a few hundred updates on a few
small pictures are enough. The loss asks of a painting that its textures and colours be the style picture's (Gram
matrices of VGG-16), and that its edges, shapes and light be the photo's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from artflow.errors import ArtflowError, Cancelled
from artflow.models.families.painter.vgg import VGGFeatures, gram

CONTENT = 2
"""The stage whose activations hold a photo's shapes."""

SMALLEST = 64  # pixels a side of a style picture
LONGEST = 4  # times as long as wide
COARSE = 8  # pixels whose mean colour is compared
CLEAR = 4.0  # more weight of shapes in where to start: a hand is learned, a person who is lost does not come back
NOISE = 0.03  # of 1: deviations of colour that are no more than that are not stretched
FLAT = 2.0  # of 255: the deviation of what counts as one colour


@dataclass(frozen=True)
class Recipe:
    """How a style is learned.

    ``size``: pixels a side of the photos; ``style_size``: of the style picture's shorter side, larger for larger
    strokes; ``rate``: of learning; ``content``, ``colours``, ``smooth``: how much shapes, colours and calm weigh beside
    the hand, whose ``layers`` are the network's stages; ``crops``: how many pieces the photos are cut into.
    """

    updates: int = 160
    size: int = 128
    style_size: int = 320
    batch: int = 1
    rate: float = 0.03
    content: float = 0.9
    colours: float = 0.6
    smooth: float = 0.05
    layers: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    crops: int = 24
    seed: int = 0


@dataclass(frozen=True)
class LearnProgress:
    """How far it is: ``hand`` and ``shapes`` are how far a painting is from the style picture's and the photo's."""

    update: int
    updates: int
    hand: float
    shapes: float


def to_pixels(picture: Image.Image) -> Tensor:
    """(1, 3, h, w) float32 in 0..1."""
    array = np.asarray(picture.convert("RGB"), np.float32) / 255
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()


def shorter_side(picture: Image.Image, side: int) -> Image.Image:
    """The picture with ``side`` px on its shorter side."""
    scale = side / min(picture.size)
    size = (max(side, round(picture.width * scale)), max(side, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


Redraw = Callable[[Image.Image], Image.Image]
"""A style that code draws: a photo in it, of the same size."""


def crops_of(photos: Sequence[Image.Image], redraw: Redraw | None, recipe: Recipe) -> tuple[Tensor, Tensor | None]:
    """(crops, 3, size, size) cut out of the photos, from whole ones to thirds of them; and the same ones redrawn."""
    rng = np.random.default_rng(recipe.seed)
    cut: list[Tensor] = []
    drawn: list[Tensor] = []
    for number in range(recipe.crops):
        photo = shorter_side(photos[number % len(photos)], int(recipe.size * rng.uniform(1.0, 3.0)))
        x, y = (int(rng.integers(0, room + 1)) for room in (photo.width - recipe.size, photo.height - recipe.size))
        box = (x, y, x + recipe.size, y + recipe.size)
        cut.append(to_pixels(photo.crop(box)))
        if redraw:
            drawn.append(to_pixels(redraw(photo).crop(box)))
    return torch.cat(cut), torch.cat(drawn) if redraw else None


def recolour(photo: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """A photo (3, h, w) with given statistics of its colours, each moved as little as that allows, so that what was
    warm or light stays so (the linear Monge-Kantorovich map; Pitie and Kokaram, 2007)."""
    flat = photo.flatten(1)
    own = torch.cov(flat) + NOISE**2 * torch.eye(3)
    root = _power(own, 0.5)
    inverse = _power(own, -0.5)
    move = inverse @ _power(root @ covariance @ root, 0.5) @ inverse
    return (move @ (flat - flat.mean(1, keepdim=True)) + mean[:, None]).reshape(photo.shape).clamp(0, 1)


def _power(matrix: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=1e-8) ** power) @ vectors.T


class StyleLearner:
    """One style on its way; `step` makes it better. `state` and `restore` let a run go on where it was cut off.

    ``style``: the pictures whose hand and colours it is to have, or a `Redraw`, whose pictures show both exactly.
    """

    def __init__(
        self,
        style: Sequence[Image.Image] | Redraw,
        photos: Sequence[Image.Image],
        features: VGGFeatures,
        network: nn.Module,
        known: Tensor,
        recipe: Recipe,
    ) -> None:
        self.features, self.network, self.recipe = features, network, recipe
        self.update = 0
        self._crops, drawn = crops_of(photos, style if callable(style) else None, recipe)
        self._shapes: dict[int, Tensor] = {}
        with torch.no_grad():
            if drawn is not None:
                self._coloured = self._shaped = drawn
                grams = [[gram(layer) for layer in features(one[None])] for one in drawn]
                self._grams = [torch.cat(same) for same in zip(*grams, strict=True)]
            else:
                assert not callable(style)
                seen = [to_pixels(shorter_side(picture, recipe.style_size)) for picture in style]
                colours = torch.cat([pixels.flatten(2)[0] for pixels in seen], 1)
                aim = colours.mean(1), torch.cov(colours)
                self._shaped = self._crops
                self._coloured = torch.stack([recolour(crop, *aim) for crop in self._crops])
                grams = [[gram(layer) for layer in features(pixels)] for pixels in seen]
                mean = [torch.stack(same).mean(0) for same in zip(*grams, strict=True)]
                self._grams = [one.expand(recipe.crops, -1, -1) for one in mean]
            self._spread = self._coloured.var((0, 2, 3)).sum()
            self.start = self._nearest(known)
        self.style = nn.Parameter(self.start.clone())
        self._optimizer = torch.optim.Adam([self.style], lr=recipe.rate, betas=(0.9, 0.99))

    def _nearest(self, known: Tensor) -> Tensor:
        """The known style that is nearest to this one once it has its colours, (1, 990)."""
        chosen = np.arange(2)
        colours = self._coloured.transpose(0, 1).flatten(1).clamp(0.02, 0.98).logit()
        candidates = known.clone()
        candidates[:, -6:-3] = colours.std(1)
        candidates[:, -3:] = colours.mean(1)
        losses = []
        for candidate in candidates:
            total, _, shapes = self.losses(candidate[None], chosen)
            losses.append(total + CLEAR * shapes)
        return candidates[int(torch.stack(losses).argmin())][None].clone()

    def losses(self, style: Tensor, chosen: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """All of the loss, and of it how far hand and shapes are from what they are to be, on these crops."""
        recipe, count = self.recipe, len(chosen)
        painted = self.network(self._crops[chosen], style.expand(count, -1))
        layers = self.features(painted)
        hand = torch.zeros(())
        for weight, layer, wanted in zip(recipe.layers, layers, self._grams, strict=False):
            apart = ((gram(layer) - wanted[chosen]) ** 2).sum((1, 2)) / (wanted**2).sum((1, 2)).mean()
            hand = hand + weight * apart.mean()
        shapes = F.mse_loss(F.instance_norm(layers[CONTENT]), torch.cat([self._shape(int(n)) for n in chosen]))
        coarse, wanted = F.avg_pool2d(painted, COARSE), F.avg_pool2d(self._coloured[chosen], COARSE)
        colours = 3 * F.mse_loss(coarse, wanted) / self._spread
        rough = painted.diff(dim=2).abs().mean() + painted.diff(dim=3).abs().mean()
        total = hand + recipe.content * shapes + recipe.colours * colours + recipe.smooth * rough
        return total, hand, shapes

    def _shape(self, number: int) -> Tensor:
        """The shapes that a crop's painting is to have: those of the photo, without its contrast and colours, so that
        these may become the style's; or those of the redrawn one."""
        if number not in self._shapes:
            with torch.no_grad():
                layer = self.features(self._shaped[number][None])[CONTENT]
                self._shapes[number] = F.instance_norm(layer).half()
        return self._shapes[number].float()

    def step(self) -> LearnProgress:
        """One update, on crops that depend on the seed and the update's number alone."""
        recipe = self.recipe
        done = self.update / recipe.updates
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
        rng = np.random.default_rng((recipe.seed, self.update))
        chosen = rng.choice(recipe.crops, recipe.batch, replace=False)
        loss, hand, shapes = self.losses(self.style, chosen)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.update += 1
        return LearnProgress(self.update, recipe.updates, hand.item(), shapes.item())

    def state(self) -> dict[str, Any]:
        return {"update": self.update, "style": self.style.data, "optimizer": self._optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.update = state["update"]
        self.style.data = state["style"]
        self._optimizer.load_state_dict(state["optimizer"])


def dead_leaves(side: int, rng: np.random.Generator) -> Image.Image:
    """A made-up picture with the statistics of photos: things of all sizes, lit from a side, that hide each other
    (Lee, Mumford and Huang, 2001)."""
    leaves = Image.new("RGB", (side, side))
    for radius in sorted(side * 0.5 * rng.uniform(0.03, 1.0, 140) ** 3 + 2, reverse=True):
        colour = rng.uniform(20, 235) + rng.normal(0, 30, 3)
        shaded = colour + np.linspace(-1, 1, 8)[:, None, None] * rng.normal(0, 35) * np.ones((1, 8, 3))
        size = (int(2 * radius), int(2 * radius * rng.uniform(0.5, 1.5)) + 1)
        leaf = Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
        mask = Image.new("L", size)
        draw = ImageDraw.Draw(mask)
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)((0, 0, size[0] - 1, size[1] - 1), fill=255)
        turn = float(rng.uniform(0, 180))
        leaf, mask = leaf.rotate(turn, expand=True), mask.rotate(turn, expand=True)
        x, y = rng.integers(-radius, side, 2)
        leaves.paste(leaf, (int(x), int(y)), mask)
    return leaves.filter(ImageFilter.GaussianBlur(side / 400))


def learn_style(
    picture: Image.Image,
    features: VGGFeatures,
    network: nn.Module,
    known: Tensor,
    *,
    photos: Sequence[Image.Image] = (),
    recipe: Recipe | None = None,
    on_progress: Callable[[LearnProgress], None] = lambda _: None,
    cancelled: threading.Event | None = None,
) -> np.ndarray:
    """The style of a picture: 990 float32, the same ones for the same arguments.

    It is learned on ``photos`` (what the camera showed last), made-up pictures and the picture itself, starting from
    the nearest of ``known`` (n, 990).

    Raises:
        ArtflowError: ``bad_style`` for a picture that is too small, too narrow or of one colour.
        Cancelled: once ``cancelled`` is set, before the next update.
    """
    recipe = recipe or Recipe()
    _check(picture)
    rng = np.random.default_rng(recipe.seed)
    contents = [*photos, *photos, picture, *(dead_leaves(3 * recipe.size, rng) for _ in range(4))]
    learner = StyleLearner([picture], contents, features, network, known, recipe)
    while learner.update < recipe.updates:
        if cancelled and cancelled.is_set():
            raise Cancelled
        on_progress(learner.step())
    return learner.style.detach()[0].numpy().copy()


def _check(picture: Image.Image) -> None:
    short, long = sorted(picture.size)
    if short < SMALLEST or long > LONGEST * short:
        raise ArtflowError(
            "bad_style",
            f"A picture of {picture.width}x{picture.height} pixels cannot be learned from: it needs {SMALLEST} "
            f"pixels on its shorter side, and at most {LONGEST} times as many on the other.",
        )
    if np.asarray(picture.convert("RGB"), np.float32).std((0, 1)).max() < FLAT:
        raise ArtflowError(
            "bad_style", "A picture of a single colour has no style to learn: choose one with strokes in it."
        )


def known_styles(folder: Path, without: Collection[str] = ()) -> Tensor:
    """(n, 990): the styles in a folder, where new ones start from."""
    files = sorted(path for path in folder.glob("*.safetensors") if path.stem not in without)
    return torch.stack([torch.from_numpy(load_file(path)["style"]) for path in files])


def save_style(path: Path, style: np.ndarray, name: str, source: str, licence: str) -> None:
    """Write a style as a file that Painter reads and that people can give away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    about = {"name": name, "source": source, "licence": licence}
    save_file({"style": np.ascontiguousarray(style, np.float32)}, partial, about)
    partial.replace(path)
