"""What is said of a picture's settings when they are filled into the tab of its mode: all that gets lost, no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import orjson
import pytest

from artflow.modes.inpaint import InpaintParams
from artflow.modes.tiled_img2img import UpscaleParams
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.metadata_panel import TargetTab, read_back, values_for_tab
from tests.metadata.files import png


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    """One that never loads its model."""
    made = Pipeline(load_settings(environ={}))
    yield made
    made.close()


@pytest.fixture
def canvas(pipeline: Pipeline) -> TargetTab:
    """A live tab of three controls."""
    controls = {"prompt": gr.Textbox(), "steps": gr.Slider(1, 8), "seed": gr.Number()}
    return TargetTab("canvas", pipeline.parameters.live("canvas"), controls)


def filled(pipeline: Pipeline, target: TargetTab, **values: Any) -> tuple[dict[str, Any], str]:
    return values_for_tab(pipeline, target, {"mode": target.tab, "source": "ArtFlow", "values": values, "unknown": {}})


def test_what_can_be_filled_is_and_needs_no_words(pipeline: Pipeline, canvas: TargetTab) -> None:
    values, words = filled(pipeline, canvas, prompt="a fox", steps=3, seed=7)
    assert (values, words) == ({"prompt": "a fox", "steps": 3, "seed": 7}, "")


def test_facts_and_what_the_tab_does_anyway_need_no_words(pipeline: Pipeline, canvas: TargetTab) -> None:
    anyway = canvas.defaults.model_dump(mode="json", exclude={"prompt", "steps", "seed"})
    facts = {"model": pipeline.spec.id, "timesteps": [999, 499], "stage": "whole", "unknown_words": ["gnu"]}
    assert filled(pipeline, canvas, **(anyway | facts))[1] == ""


def test_settings_without_a_control_are_named(pipeline: Pipeline, canvas: TargetTab) -> None:
    lost = {"seed_b": 5, "t_index_list": [16, 32], "width": 256, "factor": 2, "model": "nobody/knows"}
    words = filled(pipeline, canvas, prompt="a fox", **lost)[1]
    assert words == (
        "Not taken over, because this tab has no control for it: factor, model, seed_b, t_index_list, width."
    )


def test_names_of_anybody_are_not_made_markdown(pipeline: Pipeline, canvas: TargetTab) -> None:
    assert filled(pipeline, canvas, **{"![](http://far.away/x.png)": 1, "a" * 41: 2})[1] == ""


def test_a_model_of_anybody_is_not_made_markdown(pipeline: Pipeline) -> None:
    target = TargetTab("text", pipeline.parameters.text(), {"model": gr.Dropdown()})
    words = filled(pipeline, target, model="![](http://far.away/`x.png)\n# big")[1]
    assert "`![](http://far.away/x.png) # big`" in words


def test_the_network_that_stands_in_for_the_small_model_is_filled_in_as_that(pipeline: Pipeline) -> None:
    controls = {"prompt": gr.Textbox("a fox"), "feather": gr.Slider(0, 64), "model": gr.Dropdown()}
    target = TargetTab("inpaint", pipeline.parameters.job(InpaintParams), controls)
    values, words = filled(pipeline, target, model="migan", prompt="", feather=6)
    assert (values, words) == ({"model": "", "prompt": "", "feather": 6}, "")


def test_a_size_that_follows_from_the_picture_is_no_setting(pipeline: Pipeline, canvas: TargetTab) -> None:
    follows = canvas._replace(follows=frozenset({"width", "height"}))
    assert filled(pipeline, follows, width=128, height=96)[1] == ""
    paints = TargetTab("inpaint", pipeline.parameters.job(InpaintParams), {"prompt": gr.Textbox()})
    assert filled(pipeline, paints, width=128, height=96)[1] == ""


def test_filters_of_another_tab_are_said(pipeline: Pipeline, canvas: TargetTab) -> None:
    inverted = [{"filter": "invert"}]
    words = filled(pipeline, canvas, filters=inverted)[1]
    assert words == "The filters that the picture went through are not taken over."
    assert filled(pipeline, canvas, filters=[])[1] == ""
    own = canvas._replace(controls={"filters": gr.JSON()})
    assert filled(pipeline, own, filters=inverted)[1] == ""


# -- pictures of other programs ----------------------------------------------------------------------------------------


@pytest.fixture
def text(pipeline: Pipeline) -> TargetTab:
    """The text tab's fields that pictures of others fill."""
    controls = {
        "prompt": gr.Textbox(), "negative_prompt": gr.Textbox(), "steps": gr.Slider(1, 150), "seed": gr.Number(),
        "sampler": gr.Dropdown(), "guidance_scale": gr.Slider(0, 30), "model": gr.Dropdown(),
    }  # fmt: skip
    return TargetTab("text", pipeline.parameters.text(), controls)


def dropped(pipeline: Pipeline, target: TargetTab, tmp_path: Path, **texts: str) -> tuple[dict[str, Any], str]:
    path = tmp_path / "made.png"
    path.write_bytes(png(**texts))
    about = read_back(str(path))
    orjson.dumps(about)  # as Gradio does, which refuses what is no JSON
    return values_for_tab(pipeline, target, about)


@pytest.mark.parametrize("seed", [2**53, 18446744073709551615, 10**30, -9999999999999999999, -2])
def test_a_seed_that_cannot_be_used_is_said_exactly(
    pipeline: Pipeline, text: TargetTab, tmp_path: Path, seed: int
) -> None:
    values, words = dropped(pipeline, text, tmp_path, parameters=f"a fox\nSteps: 3, Seed: {seed}")
    assert values == {"prompt": "a fox", "negative_prompt": "", "steps": 3, "seed": -1}
    assert words == (
        f"The seed {seed} cannot be used, because this app's go from 0 to 9007199254740991; a random one is set."
    )


@pytest.mark.parametrize("seed", [2**53 - 1, 2**53 + 1, -9999999999999999999, 18446744073709551615, 10**30])
def test_a_browser_gets_seeds_exactly(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(png(parameters=f"a fox\nSteps: 3, Seed: {seed}, Nested: [{seed}, NaN]"))
    about = json.loads(orjson.dumps(read_back(str(path))))
    known = about["values"].get("seed", about["unknown"].get("seed"))
    assert str(known) == str(seed) and isinstance(known, str) == (abs(seed) > 2**53)
    assert [str(one) for one in about["unknown"]["Nested"]] == [str(seed), "nan"]


def test_half_of_a_letter_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(png(artflow='{"prompt": "\\ud83e", "\\ud83e": 1}'))
    assert orjson.dumps(read_back(str(path))["values"]) == b'{"prompt":"?","?":1}'


def test_loras_are_named(pipeline: Pipeline, text: TargetTab, tmp_path: Path) -> None:
    values, words = dropped(pipeline, text, tmp_path, parameters="a fox <lora:foo:0.8> <lora:[x](y):1>\nSteps: 3")
    assert values == {"prompt": "a fox", "negative_prompt": "", "steps": 3}
    assert words == "LoRAs that are not here are not taken over: `foo` (0.8), `[x](y)` (1)."
    for odd in (5, [5], [{}], [{"name": "``"}], [{"name": {}, "weight": "x"}], {"a": 1}):
        filled(pipeline, text, loras=odd)


GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "negative": ["3", 0], "seed": 5, "steps": 4}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["4", 0]}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}},
    "4": {"class_type": "GeminiNode", "inputs": {"prompt": "describe it"}},
}


def test_a_prompt_that_cannot_be_told_is_said_and_the_field_emptied(
    pipeline: Pipeline, text: TargetTab, tmp_path: Path
) -> None:
    values, words = dropped(pipeline, text, tmp_path, prompt=json.dumps(GRAPH))
    assert values == {"prompt": "", "negative_prompt": "bad", "seed": 5, "steps": 4}
    assert words == "The file does not tell, and so it is not filled in: the prompt."


def test_a_seed_that_cannot_be_told_is_said_and_made_random(
    pipeline: Pipeline, text: TargetTab, tmp_path: Path
) -> None:
    other = {"class_type": "KSampler", "inputs": GRAPH["1"]["inputs"] | {"seed": 6, "positive": ["3", 0]}}
    graph = GRAPH | {"1": {"class_type": "KSampler", "inputs": GRAPH["1"]["inputs"] | {"positive": ["3", 0]}}}
    values, words = dropped(pipeline, text, tmp_path, prompt=json.dumps(graph | {"5": other}))
    assert values == {"prompt": "bad", "negative_prompt": "bad", "seed": -1, "steps": 4}
    assert words == "The file does not tell, and so it is not filled in: the seed."


def test_the_negative_prompt_of_another_picture_does_not_stay(
    pipeline: Pipeline, text: TargetTab, tmp_path: Path
) -> None:
    data = json.dumps({"sui_image_params": {"prompt": "a fox", "steps": 4}})
    assert dropped(pipeline, text, tmp_path, parameters=data) == (
        {"prompt": "a fox", "negative_prompt": "", "steps": 4}, "",
    )  # fmt: skip


def test_a_picture_that_was_enlarged_only_sets_no_strength(pipeline: Pipeline) -> None:
    target = TargetTab("upscale", pipeline.parameters.job(UpscaleParams), {"strength": gr.Slider(0, 1)})
    assert filled(pipeline, target, factor="2")[0]["strength"] == 0
