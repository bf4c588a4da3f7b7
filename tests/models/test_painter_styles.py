"""The styles that ship: each is 990 finite numbers, says where it comes from, and paints in a way of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from skimage import data

from artflow.models.families.painter.network import PainterNetwork

ROOT = Path(__file__).parents[2]
PAINTER = ROOT / "artflow" / "models" / "painter"
FILES = sorted((PAINTER / "styles").glob("*.safetensors"))
LISTED = {
    entry["id"]: entry for entry in yaml.safe_load((ROOT / "presets" / "styles.yaml").read_text("utf-8"))["styles"]
}


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """A face of 128 px."""
    face = torch.from_numpy(data.astronaut()[0:256, 96:352]).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.avg_pool2d(face, 2)


@pytest.fixture(scope="module")
def paintings(photo: torch.Tensor) -> dict[str, torch.Tensor]:
    network = PainterNetwork(load_file(PAINTER / "painter.safetensors"))
    with torch.no_grad():
        return {file.stem: network(photo, load_file(file)["style"][None]) for file in FILES}


def test_each_one_is_listed_and_each_listed_one_ships():
    assert {file.stem for file in FILES} == set(LISTED)
    for entry in LISTED.values():
        assert set(entry["names"]) == {"en", "zh-Hans", "zh-Hant"}


def test_no_two_are_called_the_same():
    entries = [
        {str(word).lower() for word in (e["id"], *e["names"].values(), *e.get("aliases", ()), *e.get("alone", ()))}
        for e in LISTED.values()
    ]
    words = [word for entry in entries for word in entry]
    assert not {word for word in words if words.count(word) > 1}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_990_finite_numbers_and_says_where_it_comes_from(file: Path):
    style = load_file(file)["style"]
    assert style.shape == (990,) and style.dtype == torch.float32 and style.isfinite().all()
    with safe_open(file, "pt") as opened:
        assert set(opened.metadata()) >= {"name", "source", "licence"}


@pytest.mark.parametrize("style", [file.stem for file in FILES])
def test_it_changes_a_picture(style: str, photo: torch.Tensor, paintings: dict[str, torch.Tensor]):
    painted = paintings[style]
    assert (painted - photo).abs().mean() > 0.04
    assert painted.std() > 0.05


def test_no_two_paint_the_same(paintings: dict[str, torch.Tensor]):
    names = list(paintings)
    for at, name in enumerate(names):
        for other in names[at + 1 :]:
            assert (paintings[name] - paintings[other]).abs().mean() > 0.02, f"{name} and {other}"
