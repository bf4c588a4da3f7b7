"""What others know of a loaded model: values that can go to another process."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict

import pytest

from artflow.images import Size
from tests.support.models import tiny_folder, tiny_model


@pytest.mark.parametrize("inpaint", [False, True])
def test_it_says_what_the_model_is(inpaint: bool) -> None:
    info = tiny_model(inpaint=inpaint).info
    assert (info.id, info.native_size, info.vae_scale, info.inpaints) == ("tiny", Size(64, 64), 8, inpaint)
    assert info.folder == str(tiny_folder(inpaint=inpaint)) and not info.native_resolution_only


def test_it_is_plain_values() -> None:
    info = tiny_model().info
    assert pickle.loads(pickle.dumps(info)) == info
    assert json.loads(json.dumps(asdict(info))) == asdict(info) | {"control_kinds": list(info.control_kinds)}
