"""Sheets of styles that no museum lends: portraits redrawn by classical filters, so that a face's tones are in them.

``python -m training.style_sheets`` draws them all into ``training/cache/sheets`` to look at. Of a sheet only the
statistics of its textures, and its coarse colours, are learned.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv
from skimage.segmentation import find_boundaries, slic

from training.common import CACHE
from training.museum import work

SIDE = 448
SITTERS = ("437879", "459112", "459080")  # Vermeer, Renoir, Holbein: a dark ground, many colours, a light face
DIM = 0.02  # contrast that is not stretched any more
Sheet = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From (h, w, 3) float in 0..1 to another."""


PANES = np.array(
    [
        [0.75, 0.06, 0.10],
        [0.06, 0.16, 0.62],
        [0.95, 0.70, 0.10],
        [0.08, 0.50, 0.22],
        [0.45, 0.10, 0.50],
        [0.20, 0.60, 0.85],
        [0.96, 0.86, 0.55],
        [0.85, 0.38, 0.08],
    ]
)
"""The colours of stained glass."""


def _grey(picture: np.ndarray) -> np.ndarray:
    """Lightness with its contrast stretched, so that dark paintings have light paper too."""
    grey = picture @ np.array([0.3, 0.59, 0.11])
    low, high = np.percentile(grey, (3, 97))
    return np.clip((grey - low) / max(high - low, DIM), 0, 1) ** 0.8


def _stretched(picture: np.ndarray, saturation: float) -> np.ndarray:
    low, high = np.percentile(picture, (2, 98))
    hsv = rgb2hsv(np.clip((picture - low) / max(high - low, DIM), 0, 1) ** 0.75)
    hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0, 1)
    return hsv2rgb(hsv)


def _ink(grey: np.ndarray, sigma: float, sharp: float = 18.0, epsilon: float = 0.02) -> np.ndarray:
    """Lines as of a pen, 1 on paper and 0 in ink: a difference of Gaussians, softly cut (Winnemöller's XDoG)."""
    difference = ndimage.gaussian_filter(grey, sigma) - 0.98 * ndimage.gaussian_filter(grey, 1.6 * sigma)
    return np.where(difference > epsilon - 0.02, 1.0, 1 + np.tanh(sharp * (difference - epsilon + 0.02) * 3)).clip(0, 1)


def _waves(shape: tuple[int, int], angle: float, period: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes of one direction, in 0..1, that wobble and have ends."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    wobble = ndimage.gaussian_filter(rng.standard_normal(shape), 9)
    wobble *= 0.8 / wobble.std()
    across = x * np.cos(angle) + y * np.sin(angle)
    strokes = 0.5 + 0.5 * np.sin(2 * np.pi * across / period + wobble)
    ends = ndimage.gaussian_filter(rng.standard_normal(shape), 5)
    return np.clip(strokes + 0.25 * ends / ends.std(), 0, 1)


def _flow(grey: np.ndarray, sigma: float) -> np.ndarray:
    """The angle across the edges, everywhere, smoothed as a tensor."""
    gx, gy = ndimage.sobel(grey, 1), ndimage.sobel(grey, 0)
    xx, yy, xy = (ndimage.gaussian_filter(product, sigma) for product in (gx * gx, gy * gy, gx * gy))
    return 0.5 * np.arctan2(2 * xy, xx - yy)


def _flat(picture: np.ndarray, levels: int, saturation: float) -> np.ndarray:
    """Few, even tones, edges kept."""
    pixels = (255 * _stretched(picture, saturation)).astype(np.uint8)
    for _ in range(3):
        pixels = cv2.bilateralFilter(pixels, 9, 40, 7)
    hsv = rgb2hsv(pixels)
    hsv[..., 2] = np.round(hsv[..., 2] * levels) / levels
    hsv[..., 1] = np.round(hsv[..., 1] * 4) / 4
    return hsv2rgb(hsv)


def pencil(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = ndimage.gaussian_filter(_grey(picture), 0.7) ** 0.75
    paper = np.ones_like(grey)
    for threshold, angle in ((0.75, 0.8), (0.5, 0.65), (0.32, 2.3), (0.16, 1.5)):
        dark = np.clip((threshold - grey) * 3.5, 0, 1)
        paper *= 1 - 0.55 * dark * (1 - _waves(grey.shape, angle, 4.2, rng))
    grain = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 0.6)
    paper = paper * (0.35 + 0.65 * _ink(grey, 1.0)) + 0.03 * grain
    return np.clip(0.14 + 0.83 * paper, 0, 1)[..., None] * np.array([1.0, 0.995, 0.975])


def ink(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wet brush on rice paper: broad lines that swell, three washes with soft pools, much paper left."""
    grey = _grey(picture) ** 0.7
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
    bleed = [ndimage.gaussian_filter(rng.standard_normal(grey.shape), 4) for _ in range(2)]
    shift = [(field / field.std() * 1.6).astype(np.float32) for field in bleed]
    wet = cv2.bilateralFilter(grey.astype(np.float32), 9, 0.25, 6)
    wet = cv2.remap(wet, x + shift[0], y + shift[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    wash = np.ones_like(grey)
    for edge, ink in ((0.62, 0.20), (0.40, 0.32), (0.20, 0.55)):
        wash *= 1 - ink / (1 + np.exp((wet - edge) * 22))
    pool = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 8)
    wash = 1 - (1 - wash) * (1 + 0.18 * pool / pool.std())
    brush = ndimage.gaussian_filter(_ink(ndimage.gaussian_filter(grey, 1.5), 1.8, 26), 0.7)
    fibre = ndimage.gaussian_filter(rng.standard_normal(grey.shape), (0.6, 2.5))
    tone = np.clip(wash * (0.12 + 0.88 * brush), 0, 1) + 0.015 * fibre / fibre.std()
    black, paper = np.array([0.07, 0.07, 0.08]), np.array([0.93, 0.90, 0.84])
    return black + np.clip(tone, 0, 1)[..., None] * (paper - black)


def charcoal(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = _grey(picture)
    tooth = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 0.9)
    tooth /= tooth.std()
    smudge = ndimage.gaussian_filter(grey, 3) * 0.6 + ndimage.gaussian_filter(grey, 1) * 0.4
    strokes = _waves(grey.shape, 0.9, 9, rng)
    coal = 1 / (1 + np.exp(-(smudge - 0.42 + 0.10 * tooth + 0.16 * (strokes - 0.5)) * 9))
    coal *= 0.2 + 0.8 * ndimage.gaussian_filter(_ink(grey, 2.2), 0.8)
    return (0.06 + 0.86 * np.clip(coal, 0, 1))[..., None] * np.array([1.0, 0.97, 0.92])


def comic(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey, flat = _grey(picture), _flat(picture, 3, 1.9)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    u, v = (x + y) * 0.7071, (x - y) * 0.7071
    screen = 0.5 + 0.25 * (np.cos(2 * np.pi * u / 7) + np.cos(2 * np.pi * v / 7))
    dots = 1 / (1 + np.exp(-(screen - np.clip(1.15 - grey, 0, 1)) * 14))
    middle = np.clip(1 - np.abs(grey - 0.55) * 2.2, 0, 1)[..., None]
    inked = flat * (1 - middle * (1 - dots[..., None]) * np.array([0.15, 0.75, 0.6]))
    lines = _ink(ndimage.gaussian_filter(grey, 0.8), 1.6, 30) * (1 / (1 + np.exp(-(grey - 0.12) * 40)))
    return np.clip(inked * 1.05, 0, 1) * lines[..., None]


def woodcut(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = ndimage.gaussian_filter(_grey(picture), 1.2)
    angle = _flow(grey, 14)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    wobble = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 7)
    carved = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / 7.5 + wobble / wobble.std() * 0.5)
    print_ = 1 / (1 + np.exp(-(grey - 0.16 - 0.62 * (1 - carved)) * 26))
    print_ *= 0.05 + 0.95 * _ink(grey, 2.0, 40)
    return np.array([0.09, 0.07, 0.06]) + print_[..., None] * np.array([0.84, 0.77, 0.63])


def stained_glass(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    bright = _stretched(picture, 2.2)
    cells = slic(bright, n_segments=210, compactness=11, sigma=1.5, start_label=0)
    glass = np.empty_like(bright)
    for cell in range(cells.max() + 1):
        inside = cells == cell
        mean = bright[inside].mean(0)
        pane = PANES[np.argmin(((PANES - mean) ** 2).sum(1) + 0.12 * rng.random(len(PANES)))]
        glass[inside] = np.clip((0.35 * mean + 0.65 * pane) * rng.uniform(0.8, 1.25), 0, 1)
    lead = ndimage.binary_dilation(find_boundaries(cells, mode="thick"), iterations=1).astype(float)
    ripple = ndimage.gaussian_filter(rng.standard_normal(cells.shape), 4)
    light = 1 + 0.10 * ripple / ripple.std() - 0.9 * ndimage.gaussian_filter(lead, 2.5)
    return np.clip(glass * light[..., None] * 1.2, 0, 1) * (1 - ndimage.gaussian_filter(lead, 0.7))[..., None] + 0.02


def neon(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lit by tubes at night: shadows navy, then violet, pink and a cyan white, and what has an edge glows."""
    grey = ndimage.gaussian_filter(_grey(picture), 1.2)
    stops, lights = (
        (0.0, 0.3, 0.55, 0.8, 1.0),
        np.array([[0.02, 0.01, 0.10], [0.16, 0.03, 0.42], [0.75, 0.06, 0.62], [1.0, 0.35, 0.75], [0.55, 0.95, 1.0]]),
    )
    lit = np.stack([np.interp(grey**1.3, stops, lights[:, c]) for c in range(3)], 2)
    edges = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))
    lines = np.clip(edges / max(np.percentile(edges, 97), DIM), 0, 1) ** 1.5
    glow = 0.55 * lines + 0.9 * ndimage.gaussian_filter(lines, 4)
    return np.clip(0.8 * lit + glow[..., None] * np.array([0.05, 0.75, 0.95]), 0, 1)


def watercolour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    bright = _stretched(picture, 1.35)
    wash = cv2.edgePreservingFilter((255 * bright).astype(np.uint8), flags=1, sigma_s=18, sigma_r=0.45) / 255
    bleed = [ndimage.gaussian_filter(rng.standard_normal(wash.shape[:2]), 5) for _ in range(2)]
    y, x = np.mgrid[: wash.shape[0], : wash.shape[1]].astype(np.float32)
    shift = [(field / field.std() * 3).astype(np.float32) for field in bleed]
    wash = cv2.remap(
        wash.astype(np.float32), x + shift[0], y + shift[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    grey = wash.mean(2)
    rim = np.clip(np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1)), 0, 0.6)
    pool = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 11)
    grain = ndimage.gaussian_filter(rng.standard_normal(grey.shape), 0.8)
    density = 0.74 + 0.09 * pool / pool.std() + 0.04 * grain / grain.std() + 0.7 * rim
    light = 0.22 + 0.78 * wash**0.7
    return np.clip(1 - (1 - light) * density[..., None], 0, 1) * np.array([1.0, 0.99, 0.965])


def illustration(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = _grey(picture)
    flat = np.clip(_flat(picture, 4, 1.5) * 1.08 + 0.06, 0, 1)
    lines = _ink(ndimage.gaussian_filter(grey, 0.9), 1.0, 22)[..., None]
    return flat * (0.22 + 0.78 * lines) + (1 - lines) * np.array([0.10, 0.04, 0.10])


def poster(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    grey = ndimage.gaussian_filter(_grey(picture), 1.5)
    inks = np.array([[0.12, 0.03, 0.30], [0.93, 0.10, 0.45], [1.0, 0.55, 0.10], [0.99, 0.90, 0.25], [0.30, 0.85, 0.80]])
    tone = np.digitize(grey, (0.14, 0.36, 0.58, 0.82))
    smooth = np.stack([ndimage.gaussian_filter(inks[tone][..., c], 0.6) for c in range(3)], 2)
    return smooth * (0.25 + 0.75 * _ink(grey, 1.6, 30))[..., None]


SHEETS: dict[str, Sheet] = {
    "ink": ink,
    "pencil": pencil,
    "charcoal": charcoal,
    "comic": comic,
    "woodcut": woodcut,
    "stained-glass": stained_glass,
    "neon": neon,
    "watercolour": watercolour,
    "illustration": illustration,
    "poster": poster,
}


def redraw(name: str, picture: Image.Image) -> Image.Image:
    """A picture in one of the styles, the same one every time."""
    drawn = SHEETS[name](np.asarray(picture.convert("RGB"), np.float64) / 255, np.random.default_rng(0))
    return Image.fromarray((np.clip(drawn, 0, 1) * 255).round().astype(np.uint8))


def draw(name: str) -> list[Image.Image]:
    """Sitters in one of the styles."""
    sheets = []
    for sitter in SITTERS:
        picture = work(sitter)
        picture = picture.crop((10, 10, picture.width - 10, picture.height - 10))  # the photo shows a frame's edge
        scale = SIDE / min(picture.size)
        size = round(picture.width * scale), round(picture.height * scale)
        sheets.append(redraw(name, picture.resize(size, Image.Resampling.LANCZOS)))
    return sheets


if __name__ == "__main__":
    (CACHE / "sheets").mkdir(parents=True, exist_ok=True)
    for style in SHEETS:
        sheets = draw(style)
        canvas = Image.new("RGB", (sum(sheet.width for sheet in sheets), max(sheet.height for sheet in sheets)))
        for number, sheet in enumerate(sheets):
            canvas.paste(sheet, (sum(other.width for other in sheets[:number]), 0))
        canvas.save(CACHE / "sheets" / f"{style}.png")
