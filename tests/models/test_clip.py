"""The image and the text tower: the embedded ones, and models from the Hub over real HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models.clip import EMBEDDED, Towers, load_towers
from tests.support.clip import build_tiny_clip
from tests.support.hub_server import HubServer
from tests.support.live import noisy, plain

CPU = {"device": "cpu", "dtype": torch.float32}


@pytest.fixture(scope="module")
def towers() -> Towers:
    return load_towers(EMBEDDED, "embedded", **CPU)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_clip(tmp_path_factory.mktemp("clip") / "model")


def test_pictures_and_texts_are_rows_of_one_space(towers: Towers) -> None:
    seen, read = towers.encode_image(noisy(1)), towers.encode_text(["a cat", "a tree on grass"])
    assert seen.shape[0] == 1 and read.shape == (2, seen.shape[1])
    for rows in (seen, read):
        assert rows.dtype == np.float32 and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert towers.scale > 1


def test_red_is_nearer_to_red_than_to_blue(towers: Towers) -> None:
    words = towers.encode_text(["on a red background", "on a blue background"])
    red, blue = (towers.encode_image(plain(*colour, side=128))[0] for colour in ((220, 50, 47), (60, 120, 220)))
    assert (words @ red).argmax() == 0 and (words @ blue).argmax() == 1


def test_a_text_does_not_depend_on_those_beside_it(towers: Towers) -> None:
    alone = towers.encode_text(["a cat"])[0]
    beside = towers.encode_text(["a cat", "a cat and a dog on a light blue background, flat style"])[0]
    assert np.allclose(alone, beside, atol=1e-5)


def test_what_is_too_long_is_cut_and_known_to_be_full(towers: Towers) -> None:
    assert not towers.full("a cat") and towers.full("a cat " * 40)
    assert np.isfinite(towers.encode_text(["a cat " * 400])).all()


@pytest.mark.parametrize("shape", [(8, 8), (8, 20_000), (3000, 9)])
def test_pictures_of_any_shape_are_seen_by_their_middle_square(towers: Towers, shape: tuple[int, int]) -> None:
    picture: Picture = np.zeros((*shape, 3), np.uint8)
    height, width = shape
    side = min(shape)
    picture[(height - side) // 2 :, (width - side) // 2 :][:side, :side] = 200
    assert np.allclose(towers.encode_image(picture), towers.encode_image(plain(200, 200, 200)), atol=1e-4)


def test_a_hub_model_is_downloaded_once_with_progress_and_safetensors_only(tiny_clip: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, float | None]] = []
    with HubServer({"me/clip": tiny_clip}) as hub:
        towers = load_towers(
            "me/clip", "Clip", **CPU, endpoint=hub.url, cache_dir=tmp_path, on_progress=lambda *s: heard.append(s)
        )
        assert hub.fetched("model.safetensors") and not hub.fetched(".bin") and not hub.fetched("README.md")
    assert any(said.startswith("Downloading me/clip: ") for said, _ in heard)
    again = load_towers("me/clip", "Clip", **CPU, endpoint=hub.url, cache_dir=tmp_path)  # nobody answers there now
    assert np.array_equal(again.encode_text(["a cat"]), towers.encode_text(["a cat"]))


def test_a_hub_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with HubServer({}) as hub:
        pass
    with pytest.raises(ArtflowError, match=r"me/clip could not be downloaded: .* cannot be reached") as raised:
        load_towers("me/clip", "Clip", **CPU, endpoint=hub.url, cache_dir=tmp_path)
    assert raised.value.code == "download_failed"


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("pickled", "unsafe_weights", "only .safetensors"), ("other", "model_load_failed", "it is a bert model"),
        ("broken", "model_load_failed", "Clip could not be loaded"),
    ],
)  # fmt: skip
def test_what_is_no_clip_model_is_refused(tmp_path: Path, kind: str, code: str, words: str) -> None:
    folder = build_tiny_clip(tmp_path / "model")
    if kind == "pickled":
        (folder / "model.safetensors").unlink()
    elif kind == "other":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    else:
        (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtflowError, match=words) as raised:
        load_towers(folder, "Clip", **CPU)
    assert raised.value.code == code


def test_other_weights_have_another_fingerprint(tiny_clip: Path, tmp_path: Path) -> None:
    first, same, other = (
        load_towers(folder, "Clip", **CPU).fingerprint
        for folder in (tiny_clip, tiny_clip, build_tiny_clip(tmp_path / "other", seed=1))
    )
    assert first == same != other
