"""LoRAs asked for in live sessions and jobs of the app: who answers, what is refused, and what recipes say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from artflow import metadata
from artflow.errors import ArtflowError
from artflow.models.catalog import ROOT
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from tests.support.live import difference
from tests.support.loras import write_lora
from tests.support.models import tiny_folder
from tests.test_live_models import Live


def write_pocket_lora(path: Path, seed: int = 1) -> Path:
    """A random LoRA for the embedded drawing model."""
    unet = UNet2DConditionModel.from_pretrained(ROOT / "artflow/models/pocket/unet", torch_dtype=torch.float32)
    return write_lora(path, {"unet": unet}, seed=seed)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The app as it comes, with a LoRA for its drawing model and one for another."""
    folder = tmp_path_factory.mktemp("loras")
    write_pocket_lora(folder / "wild.safetensors")
    other = UNet2DConditionModel.from_pretrained(tiny_folder() / "unet")
    write_lora(folder / "other.safetensors", {"unet": other})
    made = Pipeline(load_settings(environ={"ARTFLOW_MODELS__LORA_DIR": str(folder)}))
    yield made
    made.close()


def test_asking_for_a_lora_asks_for_the_model_that_draws(pipeline: Pipeline) -> None:
    live = Live(pipeline, "realtime", prompt="mosaic")
    assert live.session.served_by == ["painter"]
    live.change(loras={"wild": 0.5}, prompt="a cat")
    assert live.session.served_by == ["pocket"]
    assert live.picture().recipe["loras"] == [{"name": "wild", "weight": 0.5}]
    live.change(loras={}, prompt="a cat, mosaic <lora:wild:-1>")
    assert live.session.served_by == ["pocket", "painter"]
    live.picture()
    live.change(prompt="mosaic")
    assert live.session.served_by == ["painter"]


def test_what_cannot_be_is_refused_in_a_sentence_and_the_session_goes_on(pipeline: Pipeline) -> None:
    live = Live(pipeline, "canvas", prompt="a cat")
    before = live.session.params
    for changes, says in (
        ({"loras": {"nobody": 1.0}}, "There is no LoRA 'nobody'; there are .*other, .*wild"),
        ({"loras": {"other": 1.0}}, "'other' is a LoRA for a model with texts 32 wide; this model is "),
        ({"model": "painter", "loras": {"wild": 1.0}}, "Painter takes no LoRAs"),
        ({"loras": {"wild": 3.0}}, "loras"),
        ({"negative_prompt": "<lora:wild:1>"}, "`negative_prompt` cannot ask for LoRAs"),
    ):
        with pytest.raises(ArtflowError, match=says):
            live.change(**changes)
        assert live.session.params == before
    assert live.picture().recipe.get("loras") is None


def test_a_job_writes_its_loras_into_the_picture_and_they_are_read_back(pipeline: Pipeline) -> None:
    asked = {"steps": 2, "seed": 1, "width": 128, "height": 128}
    (plain,) = pipeline.generate({"prompt": "a cat", **asked})
    (made,) = pipeline.generate({"prompt": "a cat <lora:wild:1.5:0.5-1>", **asked})
    assert difference(plain.picture, made.picture) > 1
    png = metadata.encode_png(made.picture, made.recipe)
    assert b"a cat <lora:wild:1.5:0.5-1>" in png
    read = metadata.read_metadata(png).values
    assert read["prompt"] == "a cat" and read["loras"] == [{"name": "wild", "weight": 1.5, "range": "0.5-1"}]
    (again,) = pipeline.generate({"prompt": "a cat", "loras": [{"name": "wild", "weight": 1.5}], **asked})
    assert again.recipe["loras"] == [{"name": "wild", "weight": 1.5}]
