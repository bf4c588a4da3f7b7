"""Learning a style: 990 numbers that give the painter a picture's hand and colours."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from artflow.errors import ArtflowError, Cancelled
from artflow.models.families.painter.learn import (
    LearnProgress,
    Recipe,
    StyleLearner,
    dead_leaves,
    known_styles,
    learn_style,
    recolour,
    save_style,
)
from artflow.models.families.painter.network import PainterNetwork
from artflow.models.families.painter.vgg import VGGFeatures, gram, load_features

PAINTER = Path(__file__).parents[2] / "artflow" / "models" / "painter"
TINY = Recipe(updates=3, size=64, style_size=64, crops=4)


@pytest.fixture(scope="module")
def features() -> VGGFeatures:
    return load_features()


@pytest.fixture(scope="module")
def network() -> PainterNetwork:
    return PainterNetwork(load_file(PAINTER / "painter.safetensors"))


@pytest.fixture(scope="module")
def known() -> torch.Tensor:
    return torch.stack(
        [load_file(PAINTER / "styles" / f"{name}.safetensors")["style"] for name in ("van-gogh", "mosaic")]
    )


@pytest.fixture
def picture() -> Image.Image:
    """Orange strokes on blue."""
    x = np.mgrid[:96, :96].sum(0)[..., None]
    return Image.fromarray(np.where(x % 12 < 4, (230, 120, 20), (20, 40, 150)).astype(np.uint8))


def test_updates_bring_paintings_nearer_to_the_picture(features, network, known, picture):
    recipe = replace(TINY, updates=8, crops=2, batch=2)
    seen: list[LearnProgress] = []
    learn_style(picture, features, network, known, recipe=recipe, on_progress=seen.append)
    assert [progress.update for progress in seen] == list(range(1, 9))
    assert seen[-1].hand < seen[0].hand


def test_a_painting_has_the_pictures_colours_from_the_start(features, network, known, picture):
    """The last norm's scales and shifts are its colours, so they are set before anything is learned."""
    style = learn_style(picture, features, network, known, recipe=replace(TINY, updates=0))
    photo = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    painted = network(photo, torch.from_numpy(style)[None])[0].mean((1, 2))
    wanted = torch.from_numpy(np.asarray(picture, np.float32) / 255).mean((0, 1))
    assert (painted - wanted).abs().max() < 0.12


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(features, network, known, picture):
    first, again = (learn_style(picture, features, network, known, recipe=TINY) for _ in range(2))
    other = learn_style(picture, features, network, known, recipe=replace(TINY, seed=1))
    assert first.shape == (990,) and first.dtype == np.float32
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_what_the_camera_showed_is_learned_on(features, network, known, picture):
    plain = learn_style(picture, features, network, known, recipe=TINY)
    camera = dead_leaves(128, np.random.default_rng(9))
    assert not np.array_equal(plain, learn_style(picture, features, network, known, photos=[camera], recipe=TINY))


def test_cancelling_stops_before_the_next_update(features, network, known, picture):
    cancelled, seen = threading.Event(), []

    def stop(progress: LearnProgress) -> None:
        seen.append(progress)
        cancelled.set()

    with pytest.raises(Cancelled):
        learn_style(picture, features, network, known, recipe=TINY, on_progress=stop, cancelled=cancelled)
    assert len(seen) == 1


def test_a_run_that_was_cut_off_goes_on_to_the_same_style(features, network, known, picture):
    def learner() -> StyleLearner:
        return StyleLearner([picture], [picture], features, network, known, TINY)

    whole, first, second = learner(), learner(), learner()
    for _ in range(3):
        whole.step()
    first.step()
    second.restore(first.state())
    for _ in range(2):
        second.step()
    assert torch.equal(whole.style, second.style)


@pytest.mark.parametrize(
    ("size", "colour", "says"),
    [((40, 400), None, "40x400"), ((64, 640), None, "64x640"), ((96, 96), (9, 9, 9), "single colour")],
)
def test_a_picture_with_nothing_to_learn_from_is_one_sentence(features, network, known, picture, size, colour, says):
    bad = Image.new("RGB", size, colour) if colour else picture.resize(size)
    with pytest.raises(ArtflowError, match=says) as error:
        learn_style(bad, features, network, known, recipe=TINY)
    assert error.value.code == "bad_style"


def test_colours_move_no_further_than_they_must():
    """A photo that has the statistics already stays as it is; any other gets them."""
    generator = torch.Generator().manual_seed(0)
    photo = 0.3 + 0.4 * torch.rand(3, 32, 32, generator=generator)
    flat = photo.flatten(1)
    assert torch.allclose(recolour(photo, flat.mean(1), torch.cov(flat)), photo, atol=0.02)
    mean, covariance = torch.tensor([0.6, 0.5, 0.4]), torch.diag(torch.tensor([0.01, 0.005, 0.002]))
    moved = recolour(photo, mean, covariance).flatten(1)
    assert torch.allclose(moved.mean(1), mean, atol=0.01)
    assert torch.allclose(torch.cov(moved), covariance, atol=2e-3)


def test_textures_do_not_depend_on_where_they_are(features):
    tile = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (first, *_), (second, *_) = features(tile.repeat(1, 1, 2, 2)), features(tile.repeat(1, 1, 2, 2).roll(16, 3))
    assert [layer.shape[1] for layer in features(tile)] == [64, 128, 256]
    assert torch.allclose(gram(first), gram(second), rtol=0.2, atol=0.05)


def test_a_style_is_kept_with_who_made_it(tmp_path):
    path = tmp_path / "styles" / "mine.safetensors"
    save_style(path, np.arange(990), "My hand", "my.jpg", "my own")
    with safe_open(path, "np") as file:
        assert file.metadata() == {"name": "My hand", "source": "my.jpg", "licence": "my own"}
        assert file.get_tensor("style").dtype == np.float32
    assert [file.name for file in path.parent.iterdir()] == ["mine.safetensors"]
    save_style(path.with_stem("other"), np.ones(990), "Another", "other.jpg", "my own")
    assert known_styles(path.parent).shape == (2, 990)
    assert torch.equal(known_styles(path.parent, without=["mine"]), torch.ones(1, 990))
