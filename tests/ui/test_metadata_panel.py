"""What is said of a picture's settings when they are filled into the tab of its mode: all that gets lost, no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from artflow.modes.inpaint import InpaintParams
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.metadata_panel import TargetTab, values_for_tab


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
    assert filled(pipeline, canvas, **anyway, **facts)[1] == ""


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
