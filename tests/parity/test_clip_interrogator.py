"""Our interrogation gives the prompts of the published clip-interrogator 0.6.0, on the same model, lists and subject.

Its model is open_clip's; here that is one whose space is made of words, so that both see the very same numbers.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from artflow.modes.interrogate import interrogate
from artflow.modes.term_lists import TermLists, published
from artflow.settings import PRESETS
from tests.support.clip import WordTowers
from tests.support.live import plain
from tests.support.reference import clip_interrogator

pytestmark = pytest.mark.filterwarnings("ignore:.*autocast")

LISTS = PRESETS / "interrogate"
LENGTH = 250  # tokens: long enough that no prompt is cut, which the two count differently by a comma


def reference(towers: WordTowers, tmp_path: Path):
    """The published interrogator over these towers."""
    module = clip_interrogator()
    words: list[str] = [""]

    def tokenize(texts: list[str]) -> torch.Tensor:
        rows = torch.zeros(len(texts), LENGTH, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            for i, word in enumerate(str(text).replace(",", "").split()[:LENGTH]):
                if word not in words:
                    words.append(word)
                row[i] = words.index(word)
        return rows

    def read(rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(towers.encode_text([" ".join(words[i] for i in row if i) for row in rows.tolist()]))

    model = SimpleNamespace(encode_text=read, encode_image=lambda pixels: torch.from_numpy(towers.encode_image(None)))
    module.open_clip.get_tokenizer = lambda name: tokenize
    config = module.Config(caption_model_name=None, cache_path=str(tmp_path), download_cache=False, device="cpu")
    config.data_path, config.quiet, config.clip_model = str(LISTS), True, model
    config.clip_preprocess = lambda image: torch.zeros(3, 1, 1)
    model.to = lambda device: model
    return module.Interrogator(config)


@pytest.fixture
def shown() -> WordTowers:
    """A picture of a subject and some terms of our own lists."""
    groups, rng = published(LISTS, LISTS).groups, random.Random(5)
    said = [rng.choice(groups[name]) for name in ("medium", "artist", "movement", "trending")]
    return WordTowers(" ".join(["a ship", *said, *rng.sample(groups["style"], 6)]), longest=LENGTH)


@pytest.mark.parametrize("mode", ["fast", "classic", "best"])
def test_the_same_prompt(mode: str, shown: WordTowers, tmp_path: Path) -> None:
    theirs = reference(shown, tmp_path)
    lists = published(LISTS, LISTS)
    subject = {"subject": ("a ship",)}  # where theirs has its captioning model
    ours = interrogate(plain(1, 2, 3), shown, TermLists(lists.groups | subject, lists.classic, lists.negative), mode)
    assert ours is not None
    name = {"best": "interrogate"}.get(mode, f"interrogate_{mode}")
    prompt = getattr(theirs, name)(Image.new("RGB", (8, 8)), caption="a ship")
    assert ours.prompt == prompt
    assert np.isclose(ours.similarity, theirs.similarity(theirs.image_to_features(Image.new("RGB", (8, 8))), prompt))
