"""Upscaling: sizes, seams, the embedded network, models from files, progress, cancel, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from skimage.metrics import peak_signal_noise_ratio as psnr

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.models import upscaler
from artflow.models.hub import download_file
from artflow.models.span import Span, load_span
from artflow.models.upscaler import Network
from artflow.modes import upscale as upscale_module
from artflow.modes.tiles import Tile, Tiling, seams, tiled
from artflow.modes.upscale import FACTORS, chain, fetch, upscale, upscalers
from artflow.pipeline import Pipeline
from tests.api.client import tiny_catalog, tiny_settings
from tests.support.hub_server import HubServer
from tests.support.live import difference, noisy
from tests.support.reference import fetch_spandrel

SMALL = Tiling(side=96)


def crop(height: int, width: int) -> Picture:
    """A part of a photograph."""
    return np.ascontiguousarray(data.astronaut()[40 : 40 + height, 120 : 120 + width])


def network(scale: int) -> Network:
    return Network(load_span(scale, "cpu"), scale, "cpu")


# -- tiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 95, 96, 97, 136, 137, 200, 1000])
def test_tiles_cover_everything(length: int) -> None:
    starts = SMALL.starts(length)
    size = min(SMALL.side, length)
    assert starts[0] == 0 and starts[-1] + size == length
    total = np.zeros(length * 3)
    for start in starts:
        total[start * 3 : (start + size) * 3] += SMALL.weights(start, size, length, 3)
    assert total.min() > 0.1
    assert all(after - before <= SMALL.side - SMALL.overlap for before, after in pairwise(starts))


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (96, 96), (97, 230)])
def test_tiling_alone_changes_nothing(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    done = []

    def doubled(tile: Tile) -> np.ndarray:
        y, x = tile.at
        assert np.array_equal(tile.picture, picture[y : y + len(tile.picture), x : x + tile.picture.shape[1]])
        return tile.picture.repeat(2, 0).repeat(2, 1).astype(np.float32)

    made = tiled(picture, 2, doubled, SMALL, lambda: done.append(1))
    assert np.array_equal(made, picture.repeat(2, 0).repeat(2, 1))
    assert len(done) == SMALL.count(*shape)


@pytest.mark.parametrize("scale", [2, 4])
def test_no_seam_shows(scale: int) -> None:
    picture, span = crop(150, 190), network(scale)
    whole = np.clip(np.rint(span(picture)), 0, 255).astype(np.uint8)
    made = tiled(picture, scale, lambda tile: span(tile.picture), SMALL, lambda: None)
    assert difference(made, whole) <= 1  # rounding
    for part in seams(SMALL, 190, scale):
        assert difference(made[:, part], whole[:, part]) <= 1


def test_tiles_without_trimming_would_show_seams() -> None:
    picture, span = crop(150, 190), network(2)
    whole = np.clip(np.rint(span(picture)), 0, 255).astype(np.uint8)
    badly = Tiling(96, trim=0, fade=1)
    assert difference(tiled(picture, 2, lambda tile: span(tile.picture), badly, lambda: None), whole) > 5


# -- upscaling ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", ["span", "lanczos"])
def test_every_factor_gives_its_size(name: str, factor: int) -> None:
    made = upscale(crop(20, 31), factor, name)
    assert made is not None and made.shape == (20 * factor, 31 * factor, 3) and made.dtype == np.uint8


@pytest.mark.parametrize("name", ["span", "lanczos"])
def test_one_pixel(name: str) -> None:
    made = upscale(np.full((1, 1, 3), 99, np.uint8), 4, name)
    assert made is not None and made.shape == (4, 4, 3)


@pytest.mark.parametrize(("factor", "gain"), [(2, 2.0), (4, 1.0)])
def test_the_network_restores_more_than_lanczos(factor: int, gain: float) -> None:
    large = crop(192, 192)
    small = np.asarray(Image.fromarray(large).resize((192 // factor,) * 2, Image.Resampling.BICUBIC))
    scores = [psnr(large, upscale(small, factor, name)) for name in ("span", "lanczos")]
    assert scores[0] > scores[1] + gain


def test_progress_counts_tiles_and_cancel_ends_after_one() -> None:
    seen: list[tuple[int, int]] = []
    assert upscale(crop(60, 100), 2, "span", lambda *p: seen.append(p), tiling=Tiling(side=80)) is not None
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]

    stop, seen = threading.Event(), []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 1:
            stop.set()

    assert upscale(crop(200, 200), 2, "span", progress, stop, tiling=Tiling(side=80)) is None
    assert seen[-1][0] == 1 and seen[-1][1] > 20


def test_tiles_run_where_they_are_told() -> None:
    runs = []

    def errand(work, *values, long=False):
        runs.append((work.__name__, long))
        return work(*values)

    upscale(crop(60, 100), 2, "span", errand=errand, tiling=Tiling(side=80))
    assert runs == [("scales", True), ("enlarge", False), ("enlarge", False)]


@pytest.mark.parametrize(
    ("available", "factor", "scales"),
    [
        ((2, 4), 2, [2]), ((2, 4), 3, [4]), ((2, 4), 4, [4]), ((2, 4), 8, [4, 2]), ((4,), 2, [4]), ((4,), 8, [4]),
        ((2,), 8, [2, 2, 2]), ((2,), 3, [2]), ((1,), 4, [1]), ((3,), 8, [3]),
    ],
)  # fmt: skip
def test_plans(available: tuple[int, ...], factor: int, scales: list[int]) -> None:
    assert chain(factor, available) == scales


@pytest.mark.parametrize(
    ("shape", "factor", "name", "code"),
    [
        ((64, 64), 5, "span", "bad_parameter"), ((64, 64), "2", "span", "bad_parameter"),
        ((4, 20_000), 2, "span", "picture_too_large"), ((4000, 4000), 2, "lanczos", "picture_too_large"),
        ((64, 64), 2, "../../etc/passwd", "unknown_upscaler"), ((64, 64), 2, None, "unknown_upscaler"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(shape, factor, name, code: str) -> None:
    with pytest.raises(ArtflowError) as raised:
        upscale(np.zeros((*shape, 3), np.uint8), factor, name)
    assert raised.value.code == code and len(raised.value.message) < 300


def test_the_largest_factor_is_named() -> None:
    with pytest.raises(ArtflowError, match="up to 3 times is possible"):
        upscale(np.zeros((1900, 1900, 3), np.uint8), 4)


# -- models from files --------------------------------------------------------------------------------------------


def esrgan(scale: int = 4) -> dict[str, torch.Tensor]:
    """A tiny ESRGAN with random weights, under the names of the published ones."""
    torch.manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}

    def conv(name: str, inputs: int, outputs: int) -> None:
        tensors[f"{name}.weight"] = torch.randn(outputs, inputs, 3, 3) * 0.05
        tensors[f"{name}.bias"] = torch.zeros(outputs)

    features, grow = 16, 32
    conv("conv_first", 3, features)
    for dense in range(3):
        for i in range(5):
            outputs = features if i == 4 else grow
            conv(f"body.0.rdb{dense + 1}.conv{i + 1}", features + i * grow, outputs)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        conv(name, features, features)
    conv("conv_last", features, 3)
    return tensors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(upscale_module, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def spandrel() -> None:
    """The package, which is not among the requirements: it asks for torchvision."""
    fetch_spandrel()
    upscaler._spandrel()


def test_an_esrgan_from_the_folder(folder: Path, spandrel: None) -> None:
    save_file(esrgan(), folder / "my-esrgan.safetensors")
    assert upscalers()["my-esrgan"] == "my-esrgan"
    for factor in (2, 4):
        made = upscale(crop(30, 41), factor, "my-esrgan")
        assert made is not None and made.shape == (30 * factor, 41 * factor, 3)
    assert "torchvision" not in sys.modules


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A server that speaks the Hub's file routes and holds one upscaler; the cache is empty."""
    (tmp_path / "repo").mkdir()
    save_file(esrgan(), tmp_path / "repo" / "4x.safetensors")
    with HubServer({"me/upscaler": tmp_path / "repo"}) as server:
        there = {"endpoint": server.url, "cache_dir": tmp_path / "cache"}  # HF_ENDPOINT is read at import only
        monkeypatch.setattr(upscale_module, "download_file", partial(download_file, **there))
        yield server


def test_an_esrgan_of_the_hub_is_downloaded_once(hub: HubServer, spandrel: None) -> None:
    pipeline = Pipeline(tiny_settings(), tiny_catalog())
    asked = {"factor": 4, "upscaler": "me/upscaler/4x.safetensors"}
    (made,) = pipeline.upscale(crop(30, 41), asked)
    assert made.picture.shape == (120, 164, 3)
    (again,) = pipeline.upscale(crop(30, 41), asked)
    assert np.array_equal(again.picture, made.picture)
    assert len(hub.fetched("4x.safetensors")) == 1
    pipeline.close()


def test_what_anybody_may_download_has_limits(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "me/upscaler/4x.safetensors"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with monkeypatch.context() as patch, pytest.raises(ArtflowError, match="at most 0 MB are fetched"):
        patch.setattr(upscale_module, "LARGEST_FILE", 1_000)
        fetch(name)
    monkeypatch.setattr(upscale_module, "_fetched", {f"me/upscaler/{i}.safetensors" for i in range(16)})
    with pytest.raises(ArtflowError, match="16 upscalers of the Hub have been fetched") as caught:
        fetch(name)
    assert caught.value.code == "too_many_downloads"
    assert not hub.fetched("4x.safetensors")
    assert hub.tokens == {None}, "the operator's own token opens nothing to others"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("me/upscaler/5x.safetensors", "download_failed"), ("me/nothing/4x.safetensors", "download_failed"),
        ("me/upscaler/../4x.safetensors", "unknown_upscaler"), ("me/upscaler/4x.pth", "unknown_upscaler"),
        ("http://me/upscaler/4x.safetensors", "unknown_upscaler"), ("/me/upscaler/4x.safetensors", "unknown_upscaler"),
    ],
)  # fmt: skip
def test_what_the_hub_does_not_have_is_said(hub: HubServer, name: str, code: str) -> None:
    with pytest.raises(ArtflowError) as raised:
        upscale(crop(8, 8), 2, name)
    assert raised.value.code == code


def test_our_span_is_the_published_one(spandrel: None) -> None:
    """The same weights in the architecture of `spandrel` give the same picture."""
    from spandrel.architectures.SPAN.__arch.span import SPAN

    theirs = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=48, upscale=2).eval()
    names = {"blocks.": "block_", ".c1.": ".c1_r.", ".c2.": ".c2_r.", ".c3.": ".c3_r."}
    weights = {}
    for name, value in load_span(2, "cpu").state_dict().items():
        for ours, other in names.items():
            name = name.replace(ours, other)
        part, kind = name.rsplit(".", 1)
        if part not in ("conv_cat", "upsampler"):
            part += ".eval_conv"
        weights[f"{'upsampler.0' if part == 'upsampler' else part}.{kind}"] = value
    missing = theirs.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    for module in theirs.modules():
        if hasattr(module, "update_params"):
            module.update_params = lambda: None  # it would fold the training branches, which are not there
    x = torch.from_numpy(crop(24, 30)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        assert torch.allclose(theirs(x), load_span(2, "cpu")(x), atol=1e-4)


def test_a_file_that_is_no_upscaler(folder: Path, spandrel: None) -> None:
    (folder / "broken.safetensors").write_bytes(b"nothing")
    save_file({"a": torch.zeros(3)}, folder / "other.safetensors")
    for name in ("broken", "other"):
        with pytest.raises(ArtflowError) as raised:
            upscale(crop(8, 8), 2, name)
        assert raised.value.code == "bad_upscaler"


def test_without_the_package_the_command_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(esrgan(), folder / "x.safetensors")
    monkeypatch.setattr(upscaler.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArtflowError, match="pip install --no-deps spandrel einops"):
        upscale(crop(8, 8), 2, "x")


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, artflow.modes.upscale; print([m for m in ('torch', 'spandrel') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_weights_are_complete() -> None:
    for scale in (2, 4):
        parameters = sum(p.numel() for p in load_span(scale, "cpu").parameters())
        assert 400_000 < parameters < 440_000
        assert Span(scale)(torch.zeros(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)


def test_noise_stays_within_bounds() -> None:
    made = upscale(noisy(2), 2)
    assert made is not None and made.min() < 40 and made.max() > 215
