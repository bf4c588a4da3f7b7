"""Pictures with their recipe, as ArtFlow and the programs that read A1111's text find it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from artflow.images import decode
from artflow.metadata import a1111, encode_png


def test_a_png_carries_its_recipe() -> None:
    recipe = {
        "prompt": "a red fox\nin snow 🦊", "negative_prompt": "blurry", "steps": 4, "sampler": "Euler", "seed": 7,
        "guidance_scale": 1.5, "width": 8, "height": 8, "model": "tiny", "timesteps": [999, 499],
    }  # fmt: skip
    data = encode_png(np.full((8, 8, 3), 9, np.uint8), recipe)
    image = Image.open(io.BytesIO(data))
    assert json.loads(image.text["artflow"]) == recipe
    assert image.text["parameters"] == a1111.text(recipe)
    assert decode(data, max_pixels=64).max() == 9


def test_the_recipe_reads_as_the_a1111_web_ui_writes_it() -> None:
    recipe = {"prompt": "a fox", "negative_prompt": "bad", "steps": 4, "sampler": "Euler", "seed": 7, "strength": 0.5}
    assert a1111.text(recipe) == (
        "a fox\nNegative prompt: bad\nSteps: 4, Sampler: Euler, Seed: 7, Denoising strength: 0.5"
    )
    assert a1111.text({"prompt": "a fox", "seed": 0}) == "a fox\nSeed: 0"


@pytest.mark.parametrize(
    ("prompt", "line"), [(None, ""), (["a", 5], "['a', 5]"), (7, "7"), ("half an emoji \ud83e", "half an emoji ?")]
)
def test_a_recipe_of_somebody_else_is_carried_whatever_its_prompt_is(prompt: object, line: str) -> None:
    data = encode_png(np.zeros((8, 8, 3), np.uint8), {"prompt": prompt, "negative_prompt": prompt, "seed": 3})
    text = Image.open(io.BytesIO(data)).info["parameters"]
    assert text.splitlines() == [line, *([f"Negative prompt: {line}"] if line else []), "Seed: 3"]
