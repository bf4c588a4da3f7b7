"""Is it the thing? Nearest rendered icon by colour grid and edges, independent of anything that was trained."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from training.common import IMAGE_SIZE
from training.concepts import CONCEPTS
from training.data import load_icons
from training.looks import LOOKS, compose
from training.scenes import Composer, Layout

GRID = 16


def features(images: torch.Tensor) -> torch.Tensor:
    """[N, 3, 128, 128] in [0, 1] -> [N, D]: a 16x16 colour grid and a 16x16 grid of edge strengths in 4 directions."""
    colour = F.adaptive_avg_pool2d(images, GRID)
    grey = images.mean(1, keepdim=True)
    dx = F.pad(grey[..., 1:] - grey[..., :-1], (0, 1))
    dy = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    diagonals = (dx + dy) / 2**0.5, (dx - dy) / 2**0.5
    edges = F.adaptive_avg_pool2d(torch.cat([dx, dy, *diagonals], 1).abs(), GRID)
    edges = edges / edges.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-6) * 6
    return torch.cat([colour.flatten(1), edges.flatten(1)], 1)


class Gallery:
    """Every concept at several sizes on one background colour, as reference features.

    Without ``looks``: as the two colour sets of the family draw it. With ``looks``: in every style that can be asked.
    """

    def __init__(self, background: tuple[int, int, int] = (255, 255, 255), looks: bool = False) -> None:
        icons, self.names = load_icons(), [c.name for c in CONCEPTS]
        composer = Composer(icons, [], 0)
        pictures, owner, self.style = [], [], []
        back = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), background, np.float32)
        drawn = dict.fromkeys(LOOKS, "3d") if looks else {"3d": "3d", "flat": "flat"}
        for index, concept in enumerate(CONCEPTS):
            for style, source in drawn.items():
                for side in (0.74, 0.785, 0.83):
                    colour, alpha = composer.place(icons[source, concept.icon], Layout(0.5, 0.5, side))
                    pictures.append(compose(style, back, colour, alpha))
                    owner.append(index)
                    self.style.append(style)
        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
        self.features = features(stacked)
        self.owners = torch.tensor(owner)

    def distances(self, images: torch.Tensor) -> torch.Tensor:
        """[N, concepts]: distance to each concept's nearest reference."""
        every = torch.cdist(features(images), self.features)
        out = torch.full((len(images), len(self.names)), float("inf"))
        return out.scatter_reduce(1, self.owners.expand(len(images), -1), every, "amin")

    def rank(self, images: torch.Tensor, truth: list[int]) -> torch.Tensor:
        """[N]: 0 where the right concept is the nearest of all."""
        distance = self.distances(images)
        own = distance.gather(1, torch.tensor(truth)[:, None])
        return (distance < own).sum(1)

    def nearest_style(self, images: torch.Tensor, truth: list[int]) -> list[str]:
        """Each picture's nearest style among the references of its own concept."""
        every = torch.cdist(features(images), self.features)
        every[self.owners[None] != torch.tensor(truth)[:, None]] = float("inf")
        return [self.style[i] for i in every.argmin(1).tolist()]
