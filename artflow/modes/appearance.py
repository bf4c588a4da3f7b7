"""What can be measured in a picture's pixels: the colour of its background, its colours, light and composition.

Each function returns terms with their strengths, from 0 to 1; from `SUPPORTED` on a term may be said. Lightness and
colours are CIE L*a*b*'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2gray, rgb2lab
from skimage.filters import gaussian, laplace
from skimage.transform import resize

from artflow.images import Picture

Values = NDArray[np.float64]
Terms = dict[str, float]

SUPPORTED = 0.5  # the least strength of a term that is said
LONGEST = 256  # pixels a side of the copy that is measured
SUBJECT, GROUND = 0.5, 0.2  # of the subject's heat: what is over the first is subject, what is under the second is not
LEAST = 0.05  # of the picture: a smaller background is none
COLOURS = {  # sRGB
    "black": [(15, 15, 15)], "white": [(250, 250, 250)], "gray": [(80, 80, 80), (128, 128, 128), (190, 190, 190)],
    "red": [(200, 30, 35), (140, 20, 25)], "orange": [(240, 130, 30)], "yellow": [(240, 215, 50)],
    "green": [(50, 130, 50), (25, 65, 30), (130, 175, 60), (90, 105, 45)], "teal": [(20, 125, 125)],
    "blue": [(35, 75, 180), (25, 35, 90)], "light blue": [(140, 190, 235)], "purple": [(115, 50, 150)],
    "pink": [(240, 150, 185), (220, 50, 130)], "brown": [(110, 70, 40), (60, 40, 28), (150, 105, 70)],
    "beige": [(220, 200, 165)],
}  # fmt: skip
GRAYS = ("black", "white", "gray")
LEAST_EDGES = 0.002  # mean second derivative of a picture that has edges to compare
LEAST_VARIANCE = 1e-3  # of a picture that has two sides to compare
COLOURFUL = 12.0  # chroma from which no pixel is gray
PALE = 4.0  # mean chroma under which a picture has no colours


@dataclass(frozen=True)
class Measured:
    """A picture made ready to be measured: `measured` makes it."""

    lab: Values
    """(height, width, 3), the longer side 256 pixels."""
    gray: Values
    """(height, width), 0 to 1."""
    heat: Values | None
    """(height, width), 0 to 1: where the subject is, where that is known."""


def measured(picture: Picture, where: NDArray[np.float32] | None) -> Measured:
    """The picture in the size that is measured; ``where`` says where its subject is, at any coarser size."""
    height, width = picture.shape[:2]
    factor = LONGEST / max(height, width)
    size = max(8, round(width * factor)), max(8, round(height * factor))
    small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    heat = None if where is None else resize(where.astype(np.float64), small.shape[:2], order=1)
    return Measured(rgb2lab(small), rgb2gray(small), heat)


def background(picture: Measured) -> Terms:
    """The colours of what is not the subject ("brown background"), each with its share of those pixels.

    That is where the subject's heat is under 0.2; where the subject is not known, the outer tenth of the picture.
    """
    ground = _ground(picture)
    return {} if ground is None else _shares(picture.lab[ground], "background")


def colours(picture: Measured) -> Terms:
    """The colours of the whole picture ("brown tones"): twice their share of the pixels, so a quarter supports one.

    Gray, black and white are no tones. "black and white" is supported by a mean chroma under 4, which leaves no tones.
    """
    chroma = float(np.hypot(picture.lab[..., 1], picture.lab[..., 2]).mean())
    pale = _ramp(chroma, PALE * 2, 0)
    shares = _shares(picture.lab.reshape(-1, 3), "tones", without=GRAYS)
    tones = {term: min(1.0, 2 * share) * (pale < SUPPORTED) for term, share in shares.items()}
    return {"black and white": pale, **tones}


def light(picture: Measured) -> Terms:
    """How light and dark are spread, by the lightness L* from 0 to 100, smoothed over a fortieth of the picture.

    - "dim light": its mean is under 30; "bright light": over 70
    - "soft light": its 5th and 95th percentile are less than 45 apart; "strong contrast": more than 80
    """
    lightness = gaussian(picture.lab[..., 0], LONGEST / 40)
    mean = float(lightness.mean())
    low, high = np.percentile(lightness, (5, 95))
    return {
        "dim light": _ramp(mean, 40, 20),
        "bright light": _ramp(mean, 60, 80),
        "soft light": _ramp(high - low, 60, 30),
        "strong contrast": _ramp(high - low, 70, 90),
    }


def composition(picture: Measured) -> Terms:
    """Where the subject is and how it stands out.

    - "close-up": it (heat over 0.5) covers over 45 % of the picture; "wide shot": under 10 %
    - "centred": the middle of its heat is within 10 % of the picture's middle, both ways, and it is no close-up
    - "subject on the left", "subject on the right": that middle is in the outer 35 % of the width
    - "smooth background": edges in what is not the subject are less than a third as strong as in the subject
    - "symmetrical": picture and mirror image correlate by over 0.7, less what a row has in common, such as sky
    """
    edges = np.abs(laplace(gaussian(picture.gray, 1)))
    across_rows = picture.gray - picture.gray.mean(1, keepdims=True)
    alike = (across_rows * across_rows[:, ::-1]).mean() / max(across_rows.var(), LEAST_VARIANCE)
    terms = {"symmetrical": _ramp(float(alike), 0.6, 0.8)}
    heat = picture.heat
    if heat is None or not (inside := heat > SUBJECT).any():
        return terms
    area = float(inside.mean())
    across, down = (_middle(heat.sum(axis)) for axis in (0, 1))
    away = max(abs(across - 0.5), abs(down - 0.5))
    terms |= {
        "close-up": _ramp(area, 0.35, 0.55),
        "wide shot": _ramp(area, 0.15, 0.05),
        "centred": _ramp(away, 0.15, 0.05) * (area < 0.45),
        "subject on the left": _ramp(across, 0.4, 0.3),
        "subject on the right": _ramp(across, 0.6, 0.7),
    }
    ground = _ground(picture)
    if ground is not None:
        sharp, behind = float(edges[inside].mean()), float(edges[ground].mean())
        terms["smooth background"] = _ramp(behind / max(sharp, 1e-6), 0.5, 0.17) * (sharp > LEAST_EDGES)
    return terms


def _ground(picture: Measured) -> NDArray[np.bool_] | None:
    """The pixels that are not the subject; None where they are too few."""
    height, width = picture.gray.shape
    if picture.heat is not None:
        ground = picture.heat < GROUND
    else:
        ground = np.ones((height, width), bool)
        ground[height // 10 : height - height // 10, width // 10 : width - width // 10] = False
    return ground if ground.mean() >= LEAST else None


def _shares(lab: Values, noun: str, without: Iterable[str] = ()) -> Terms:
    """The share of pixels (n, 3) that are nearest to each colour."""
    names = [name for name, samples in COLOURS.items() for _ in samples]
    samples = rgb2lab(np.array([[sample for group in COLOURS.values() for sample in group]], np.uint8))[0]
    # Differences of lightness count half: light and shade change it and not the colour's name.
    weights = np.array([0.5, 1, 1])
    distances = (((lab[:, None, :] - samples[None]) * weights) ** 2).sum(2)
    colourful = np.hypot(lab[:, 1], lab[:, 2]) >= COLOURFUL
    distances[np.ix_(colourful, np.array(names) == "gray")] = np.inf
    nearest = np.bincount(distances.argmin(1), minlength=len(names)) / len(lab)
    total: Terms = {name: 0.0 for name in COLOURS if name not in without}
    for name, share in zip(names, nearest, strict=True):
        if name in total:
            total[name] += float(share)
    return {f"{name} {noun}": share for name, share in total.items()}


def _middle(weights: Values) -> float:
    """The weighted middle of a line, 0 to 1."""
    return float((weights * (np.arange(len(weights)) + 0.5)).sum() / max(weights.sum(), 1e-9) / len(weights))


def _ramp(value: float, none: float, full: float) -> float:
    """0 at ``none``, 1 at ``full``, a line between them; so half at what the docstrings name."""
    return float(np.clip((value - none) / (full - none), 0, 1))


def supported(terms: Mapping[str, float]) -> list[str]:
    """The terms that may be said, the strongest first."""
    return [term for term, strength in sorted(terms.items(), key=lambda one: -one[1]) if strength >= SUPPORTED]
