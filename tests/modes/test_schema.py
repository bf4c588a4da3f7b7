"""Parameters of the modes: where defaults come from, how changes are checked and described."""

from __future__ import annotations

import pytest

from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.modes.canvas import CANVAS
from artflow.modes.realtime import REALTIME
from artflow.modes.schema import input_schema, merged
from artflow.modes.text import TextParams

FIELDS = ("range", "seed", "checkbox", "select", "textarea", "hidden")


def test_later_layers_win_and_older_names_are_the_same_thing() -> None:
    params = merged(LiveParams, {"strength": 0.1, "steps": 3}, {"denoise": 0.9})
    assert (params.strength, params.steps) == (0.9, 3)
    assert merged(TextParams, {"guidance_scale": 2.0}, {"cfg": 3.0}).guidance_scale == 3.0
    assert merged(TextParams, {"cfg_scale": 4.0}).guidance_scale == 4.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 9}, "parameter `steps` cannot be 9: .*less than or equal to 8"),
        ({"steps": "many"}, "`steps` cannot be 'many'"),
        ({"strength": float("nan")}, "`strength` cannot be nan"),
        ({"guidance_scale": float("inf")}, "`guidance_scale` cannot be inf"),
        ({"cfg_type": "half"}, "'none', 'self', 'initialize' or 'full'"),
        ({"seed": -2}, "`seed` cannot be -2"),
        ({"nothing": 1}, "`nothing` does not exist .*allowed are prompt"),
        ({"t_index_list": "1,2"}, "t_index_list"),
    ],
)
def test_a_bad_parameter_names_itself_its_value_and_what_is_allowed(changes: dict, words: str) -> None:
    with pytest.raises(ArtflowError, match=words) as caught:
        merged(LiveParams, changes)
    assert caught.value.code == "bad_parameter"


def test_prompts_have_a_greatest_length() -> None:
    assert merged(LiveParams, {"prompt": "x" * 10}, max_prompt=10).prompt == "x" * 10
    with pytest.raises(ArtflowError, match="`negative_prompt` has 11 characters; at most 10") as caught:
        merged(LiveParams, {"negative_prompt": "x" * 11}, max_prompt=10)
    assert caught.value.code == "prompt_too_long"


@pytest.mark.parametrize("kind", [LiveParams, TextParams])
def test_every_number_is_described_with_its_limits_and_they_are_the_real_ones(kind) -> None:
    for name, about in input_schema(kind())["properties"].items():
        assert about["id"] == name and about["field"] in FIELDS
        if about["field"] in ("range", "seed"):
            for limit in (about["min"], about["max"]):
                merged(kind, {name: limit})
            with pytest.raises(ArtflowError):
                merged(kind, {name: about["max"] + 1})


def test_a_webcam_pipelines_its_latest_frame_and_a_canvas_answers_every_stroke() -> None:
    assert (REALTIME.policy.pipelined, REALTIME.policy.latest_only) == (True, True)
    assert (CANVAS.policy.pipelined, CANVAS.policy.latest_only) == (False, False)
    assert CANVAS.defaults["priority"] == "quality"


def test_what_is_only_about_the_flow_changes_no_picture() -> None:
    params = LiveParams()
    assert params.same_pictures(params.model_copy(update={"max_fps": 5, "jpeg_quality": 1, "priority": "quality"}))
    for change in ({"prompt": "x"}, {"seed": 9}, {"width": 64}, {"blend": 0.5}):
        assert not params.same_pictures(params.model_copy(update=change))
