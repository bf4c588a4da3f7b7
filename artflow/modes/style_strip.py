"""All styles of Painter on one sheet: a picture, small, in each of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.machine import in_background
from artflow.models.dtypes import pick_dtype
from artflow.prompts.styles import LEARNED, styles

if TYPE_CHECKING:
    from artflow.models.families.painter.compute import Paint
    from artflow.models.families.painter.styles import StyleFiles

SIDE = 96  # pixels of each thumbnail
COLUMNS = 8
SAMPLE = Path(__file__).parent / "style_sample.jpg"
"""What is painted for who has no picture yet: a portrait by NASA, in the public domain (scikit-image's astronaut)."""


class Sheet(NamedTuple):
    """Thumbnails in rows of `COLUMNS`, `SIDE` pixels each, and the ids of their styles in that order."""

    picture: Picture
    styles: tuple[str, ...]


def painted(picture: Picture, folder: Path, device: str) -> Sheet:
    """The middle square of a picture in each style that there is; ``folder`` is Painter's.

    A style whose file cannot be used has no thumbnail. On a CPU it lets live frames go first.
    """
    from artflow.engine.threads import with_threads

    _painter(folder, device)  # while others wait for what is imported, nobody may step back
    if device == "cpu":
        return in_background(lambda: with_threads(1, lambda: _painted(picture, folder, device)))
    return _painted(picture, folder, device)


def _painted(picture: Picture, folder: Path, device: str) -> Sheet:
    import torch

    paint, files = _painter(folder, device)
    found = {}
    for style in styles().styles:
        try:
            found[style.id] = files.get(style.id)
        except ArtflowError:  # whoever chooses it is told
            continue
    small = ImageOps.fit(Image.fromarray(picture[..., :3]), (SIDE, SIDE), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.asarray(small, np.float32) / 255).permute(2, 0, 1).to(device)
    with torch.inference_mode():
        made = paint(pixels.expand(len(found), -1, -1, -1), torch.stack(list(found.values())).to(device))
    tiles = made.float().clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return Sheet(_laid_out(tiles), tuple(found))


def style_size_of(folder: Path) -> int:
    """The numbers of a style of the painter in a folder."""
    from safetensors.torch import load_file

    from artflow.models.families.painter.network import layers_of, style_size

    return style_size(layers_of(load_file(folder / "painter.safetensors")))


def _laid_out(tiles: Picture) -> Picture:
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.zeros((rows, COLUMNS, SIDE, SIDE, 3), np.uint8)
    sheet.reshape(-1, SIDE, SIDE, 3)[: len(tiles)] = tiles
    return sheet.transpose(0, 2, 1, 3, 4).reshape(rows * SIDE, COLUMNS * SIDE, 3)


@lru_cache(maxsize=1)
def _painter(folder: Path, device: str) -> tuple[Paint, StyleFiles]:
    import torch
    from safetensors.torch import load_file

    from artflow.models.families.painter.compute import painting_network
    from artflow.models.families.painter.network import layers_of, style_size
    from artflow.models.families.painter.styles import StyleFiles

    weights = load_file(folder / "painter.safetensors")
    on = torch.device(device)
    files = StyleFiles([folder / "styles", LEARNED], style_size(layers_of(weights)))
    return painting_network(weights, on, pick_dtype("auto", device)), files
