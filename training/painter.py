"""Our own styles of the painter: ``python -m training.painter --styles ink seurat`` (all of them without ``--styles``).

Each goes on from its last checkpoint and ends as `artflow/models/painter/styles/<id>.safetensors`; a sheet
beside the checkpoint shows a few photos in it, and the style picture. Two processes with a thread each are quicker than
one with two where other work runs beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance
from safetensors.torch import load_file
from skimage import data

from artflow.models.families.painter.learn import (
    Recipe,
    Redraw,
    StyleLearner,
    known_styles,
    save_style,
    shorter_side,
    to_pixels,
)
from artflow.models.families.painter.network import PainterNetwork
from artflow.models.families.painter.vgg import WEIGHTS, load_features
from training import style_sheets
from training.common import CACHE, ROOT, Progress, load_checkpoint, save_checkpoint, sheet
from training.museum import work

PAINTER = ROOT.parent / "artflow" / "models" / "painter"
STYLES_FOLDER = PAINTER / "styles"
MET = "The Metropolitan Museum of Art, object"
SITTERS = ("436840", "459027", "435896", "436106", "437397", "436964", "437869", "437881", "436947", "438815")
"""Portraits that stand for photos of people, of whom no package ships enough."""


@dataclass(frozen=True)
class Style:
    """What a style is learned from: paintings by their object number; without any, the sheet of the same id.

    ``crop``: the part of each that is read (left, top, right, bottom, of 1); ``vivid``, ``bright``: how much its
    colours and its light are strengthened, where varnish has darkened it.
    """

    name: str
    works: tuple[str, ...] = ()
    crop: tuple[float, float, float, float] = (0.04, 0.04, 0.96, 0.96)
    recipe: Recipe = field(default_factory=Recipe)
    vivid: float = 1.0
    bright: float = 1.0

    @property
    def source(self) -> str:
        if not self.works:
            return "drawn by training/style_sheets.py from works of The Metropolitan Museum of Art"
        return f"{MET} {' and '.join(self.works)}"

    def pictures(self, style: str) -> list[Image.Image]:
        if not self.works:
            return style_sheets.draw(style)
        cut = []
        for number in self.works:
            picture = work(number)
            box = [round(part * side) for part, side in zip(self.crop, picture.size * 2, strict=True)]
            picture = ImageEnhance.Color(picture.crop((box[0], box[1], box[2], box[3]))).enhance(self.vivid)
            cut.append(ImageEnhance.Brightness(picture).enhance(self.bright))
        return cut


DRAWN = Recipe(content=2.0, colours=2.0)
"""For sheets, which show what becomes of each photo."""

STYLES = {
    "ink": Style("Ink wash", recipe=DRAWN),
    "seurat": Style("Pointillism, after Seurat", ("437658",), recipe=Recipe(style_size=480, colours=0.4)),
    "comic": Style("Comic halftone", recipe=DRAWN),
    "pencil": Style("Pencil", recipe=DRAWN),
    "neon": Style("Neon", recipe=DRAWN),
    "stained-glass": Style("Stained glass", recipe=DRAWN),
    "rembrandt": Style("Old master oil, after Rembrandt", ("437397",), (0.3, 0.2, 0.75, 0.62), bright=1.8),
    "watercolour": Style("Watercolour", recipe=DRAWN),
    "gold-leaf": Style("Gold leaf, after Kano Sansetsu", ("44858",), (0.02, 0.12, 0.98, 0.88)),
    "woodcut": Style("Woodcut", recipe=DRAWN),
    "charcoal": Style("Charcoal", recipe=DRAWN),
    "poster": Style("Poster", recipe=DRAWN),
    "illustration": Style("Illustration", recipe=DRAWN),
    "klimt": Style("Klimt, after Mäda Primavesi", ("436819",), (0.05, 0.04, 0.95, 0.96), vivid=1.2),
    "turner": Style("Turner, after Whalers", ("437854",)),
    "gauguin": Style("Gauguin, after Ia Orana Maria", ("438821",), (0.04, 0.03, 0.95, 0.9), vivid=1.3),
}


def contents() -> list[Image.Image]:
    """What styles are learned on: photos of scikit-image, the astronaut not among them, and portraits."""
    photos = [getattr(data, name)() for name in ("chelsea", "coffee", "rocket", "camera")]
    return [Image.fromarray(photo).convert("RGB") for photo in photos] + [work(number) for number in SITTERS]


def train(style: str, learner: StyleLearner, checkpoint: Path) -> None:
    """Go on from the checkpoint to the end."""
    recipe = learner.recipe
    if state := load_checkpoint(checkpoint):
        learner.restore(state)
    progress = Progress(learner.update, recipe.updates, recipe.batch)
    while learner.update < recipe.updates:
        seen = learner.step()
        progress.update(seen.update, seen.hand + seen.shapes, style)
        if seen.update % 20 == 0 or seen.update == recipe.updates:
            save_checkpoint(checkpoint, learner.state())


def look(style: torch.Tensor, network: torch.nn.Module, pictures: Sequence[Image.Image], path: Path) -> None:
    """Save the astronaut, her face and a cat in this style at 384 px, beside what it was learned from."""
    astronaut = Image.fromarray(data.astronaut())
    cat = Image.fromarray(data.chelsea()).crop((60, 0, 360, 300))
    photos = torch.cat([to_pixels(p.resize((384, 384))) for p in (astronaut, astronaut.crop((120, 0, 330, 210)), cat)])
    with torch.no_grad():
        painted = network(photos, style.expand(3, -1))
    source = shorter_side(pictures[0], 384)
    sheet(torch.cat([painted, to_pixels(source.crop((0, 0, 384, 384)))]), 4, path)


def measure(learner: StyleLearner, aim: Sequence[Image.Image] | Redraw) -> str:
    """How far the astronaut's paintings are from the style, and from her shapes, at the start and now."""
    astronaut = Image.fromarray(data.astronaut())
    recipe = replace(learner.recipe, crops=8)
    judge = StyleLearner(aim, [astronaut], learner.features, learner.network, learner.start, recipe)
    with torch.no_grad():
        figures = [judge.losses(style, np.arange(8))[1:] for style in (judge.style, learner.style)]
    (hand, shapes), (hand_now, shapes_now) = figures
    return f"hand {hand:.2f} to {hand_now:.2f}, shapes {shapes:.2f} to {shapes_now:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", nargs="*", choices=STYLES, default=list(STYLES), metavar="ID")
    parser.add_argument("--updates", type=int, help="instead of those of the recipes")
    parser.add_argument("--features", type=Path, default=WEIGHTS, help="other stages of VGG (training.convert_vgg)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    features = load_features(options.features)
    network = PainterNetwork(load_file(PAINTER / "painter.safetensors"))
    photos, known = (
        contents(),
        known_styles(STYLES_FOLDER, without={*STYLES, "weave"}),
    )  # nobody is seen through that one
    for name in options.styles:
        style = STYLES[name]
        recipe = replace(style.recipe, updates=options.updates) if options.updates else style.recipe
        pictures = style.pictures(name)
        aim = pictures if style.works else partial(style_sheets.redraw, name)
        learner = StyleLearner(aim, photos, features, network, known, recipe)
        train(name, learner, CACHE / "painter" / f"{name}.pt")
        print(name, measure(learner, aim), flush=True)
        vector = learner.style.detach()
        save_style(STYLES_FOLDER / f"{name}.safetensors", np.asarray(vector[0]), style.name, style.source, "CC0-1.0")
        look(vector, network, pictures, CACHE / "painter" / f"{name}.png")


if __name__ == "__main__":
    main()
