"""Our photo classifier is the published EfficientNet-Lite0, within what half precision leaves of its weights."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from skimage import data

from artflow.models.classifier import load_network, views
from tests.support.reference import efficientnet_lite
from training.convert_efficientnet import convert


@pytest.fixture(scope="module")
def published() -> torch.nn.Module:
    package, weights = efficientnet_lite()
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


@torch.inference_mode()
def test_it_sees_what_the_published_network_sees(published: torch.nn.Module) -> None:
    ours = load_network("cpu")
    for photo in (data.chelsea(), data.coffee(), data.rocket()):
        crop, _ = views(Image.fromarray(photo), "cpu")
        ours_share = ours.classes(ours(crop).mean((2, 3))).softmax(1)
        theirs = published(crop).softmax(1)
        assert (ours_share - theirs).abs().max() < 0.01
        assert ours_share.argmax() == theirs.argmax()


def test_the_weights_that_ship_are_the_converted_ones(published: torch.nn.Module) -> None:
    shipped = load_network("cpu").state_dict()
    converted = convert(published.state_dict())
    assert shipped.keys() == converted.keys()
    assert all(torch.equal(shipped[name].half(), value) for name, value in converted.items())
