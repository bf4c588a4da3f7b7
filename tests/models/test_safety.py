"""The safety check: a real checker, from a folder and from the Hub over real HTTP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker, cosine_distance
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil

from artflow.errors import ArtflowError
from artflow.images import Size, resized
from artflow.models.safety import load_checker
from tests.support.clip import build_tiny_clip
from tests.support.hub_server import HubServer
from tests.support.live import noisy
from tests.support.safety import SIDE, build_checker, checker_against, seen

CPU = {"device": "cpu", "dtype": torch.float32}
REFUSED = noisy(1, side=SIDE)


def test_only_what_is_like_a_concept_is_flagged(tmp_path: Path) -> None:
    checker = checker_against(tmp_path / "checker", REFUSED, noisy(7, side=SIDE))
    pictures = [noisy(seed, side=SIDE) for seed in (0, 1, 2, 7)]
    assert checker.flagged(pictures) == [False, True, False, True]


def test_the_flags_are_those_of_diffusers(tmp_path: Path) -> None:
    """Also where a concept that asks for special care lowers the other thresholds a little."""
    folder = build_checker(tmp_path / "checker")
    model = StableDiffusionSafetyChecker.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    pictures = [noisy(seed, side=SIDE) for seed in range(80)]
    pixels = seen(CLIPImageProcessorPil.from_pretrained(folder), *pictures)
    for name, flagged_of_each in (("concept", 0.03), ("special_care", 0.15)):
        embeds, thresholds = getattr(model, f"{name}_embeds"), getattr(model, f"{name}_embeds_weights")
        embeds.data = torch.randn(embeds.shape, generator=generator)
        with torch.no_grad():
            similar = cosine_distance(model.visual_projection(model.vision_model(pixels)[1]), embeds)
        thresholds.data = similar.quantile(1 - flagged_of_each, dim=0)
    model.save_pretrained(folder)
    theirs = model(pixels, images=[np.empty(0)] * len(pictures))[1]
    assert load_checker(folder, **CPU).flagged(pictures) == theirs
    assert 0 < sum(theirs) < len(theirs)
    model.special_care_embeds_weights.data[:] = 2
    assert model(pixels, images=[np.empty(0)] * len(pictures))[1] != theirs, "special care was needed for this test"


def test_nothing_waits_for_the_device_before_the_flags_are_read(tmp_path: Path, monkeypatch) -> None:
    """Pixels that are on the device are checked there, and the flags stay there, too."""
    checker = checker_against(tmp_path / "checker", REFUSED)
    pixels = torch.from_numpy(np.stack([noisy(0, side=SIDE), REFUSED]))
    with monkeypatch.context() as patch:
        for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "nonzero"):
            patch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"waits by {name}"))
        flags = checker.flagged_pixels(pixels)
    assert flags.dtype == torch.bool and flags.tolist() == [False, True]


def test_a_wide_picture_is_seen_whole(tmp_path: Path) -> None:
    """CLIP's usual cut would leave out all but its middle."""
    checker = checker_against(tmp_path / "checker", REFUSED)
    stretched = resized(REFUSED, Size(3 * SIDE, SIDE))
    in_the_middle = np.hstack([noisy(2, side=SIDE), REFUSED, noisy(3, side=SIDE)])
    assert checker.flagged([stretched, in_the_middle]) == [True, False]


def test_it_comes_from_the_hub_without_pickles(tmp_path: Path) -> None:
    folder = build_checker(tmp_path / "checker", REFUSED)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    said: list[str] = []
    with HubServer({"owner/checker": folder}) as hub:
        here = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", **CPU}
        checker = load_checker("owner/checker", on_progress=lambda message, _: said.append(message), **here)
        assert not hub.fetched(".bin")
        assert checker.flagged([REFUSED]) == [True]
        before = len(hub.log)
        load_checker("owner/checker", **here)
        assert len(hub.log) == before, "what is here is not asked for again"
    assert any("Downloading owner/checker" in message for message in said)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtflowError, match="it is a CLIPModel, and the safety check"):
        load_checker(build_tiny_clip(tmp_path / "clip"), **CPU)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    folder = build_checker(tmp_path / "checker")
    weights = load_file(folder / "model.safetensors")
    del weights["concept_embeds"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtflowError, match="1 of its weights are missing"):
        load_checker(folder, **CPU)
