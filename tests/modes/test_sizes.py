"""Sizes that no model was trained at, through everything that draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from artflow.images import Picture, Size
from artflow.models.catalog import Catalog, ModelSpec, Source
from artflow.pipeline import Pipeline
from tests.api.client import tiny_settings
from tests.support.tiny import build_tiny

ASKED = {"prompt": "a fox", "steps": 1, "seed": 3, "guidance_scale": 1}
SIZES = [Size(520, 520), Size(1366, 768), Size(1023, 577), Size(1, 4000), Size(4000, 1), Size(16, 16), Size(1, 1)]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "inpaint model"])
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """On a tiny model that halves its latents three times, as Stable Diffusion does."""
    folder = build_tiny(tmp_path_factory.mktemp("deep"), channels=(32, 32, 32, 32), inpaint=request.param)
    spec = ModelSpec(id="deep", source=Source(folder=folder), width=128, height=128)
    pipeline = Pipeline(tiny_settings(), Catalog(models=[spec]))
    yield pipeline
    pipeline.close()


def scene(size: Size) -> Picture:
    """Coarse random colours."""
    coarse = np.random.default_rng(1).integers(0, 256, (size.height // 10 + 1, size.width // 10 + 1, 3), np.uint8)
    return coarse.repeat(10, 0).repeat(10, 1)[: size.height, : size.width]


def size_of(picture: Picture) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


@pytest.mark.parametrize("size", [Size(520, 520), Size(16, 16), Size(16, 1024)], ids=str)
def test_text_and_hires_fix(pipeline: Pipeline, size: Size) -> None:
    asked = ASKED | {"width": size.width, "height": size.height}
    (made,) = pipeline.generate(asked)
    assert size_of(made.picture) == size and made.picture.std() > 5
    (larger,) = pipeline.generate(asked | {"hires_scale": 1.5, "hires_upscaler": "lanczos"})
    assert size_of(larger.picture) == size.scaled(1.5, 8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("more", [{"only_masked": True}, {"only_masked": False}], ids=["only masked", "all"])
def test_inpaint(pipeline: Pipeline, size: Size, more: dict[str, Any]) -> None:
    picture, mask = scene(size), np.zeros((size.height, size.width), np.uint8)
    mask[size.height // 4 : size.height // 2 + 1, size.width // 4 : size.width // 2 + 1] = 255
    (made,) = pipeline.inpaint(picture, mask, ASKED | more)
    assert size_of(made.picture) == size
    assert (made.picture[mask == 0] == picture[mask == 0]).all()
    assert (made.picture != picture).any()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_outpaint(pipeline: Pipeline, size: Size) -> None:
    picture = scene(size)
    (made,) = pipeline.outpaint(picture, ASKED | {"left": 30, "down": 17})
    assert size_of(made.picture) == (size.width + 30, size.height + 17)
    assert (made.picture[: size.height, 30:] == picture).all()


@pytest.mark.parametrize("size", [Size(130, 70), Size(1, 400), Size(400, 1), Size(16, 16), Size(1, 1)], ids=str)
def test_upscale_and_redraw(pipeline: Pipeline, size: Size) -> None:
    for more in ({"upscaler": "span"}, {"upscaler": "lanczos", "strength": 0.3}):
        (made,) = pipeline.upscale(scene(size), ASKED | {"factor": 2} | more)
        assert size_of(made.picture) == (2 * size.width, 2 * size.height)
