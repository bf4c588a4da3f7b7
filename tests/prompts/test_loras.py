"""LoRAs in prompts, and beside them."""

from __future__ import annotations

import pytest

from artflow.engine.params import LiveParams
from artflow.errors import ArtflowError
from artflow.prompts.loras import LoraUse, asked, at, listed, split, with_tags


def test_tags_leave_the_text_and_say_what_is_asked_for():
    text, uses = split("a cat, <lora:neon:0.8>, at night <lora:ink.v2> <lora:fog:-0.5:0-0.5>")
    assert text == "a cat, at night"
    assert uses == (LoraUse("neon", 0.8), LoraUse("ink.v2", 1.0), LoraUse("fog", -0.5, 0.0, 0.5))
    assert split("a <b> c") == ("a <b> c", ())
    assert split(with_tags("a dog", "x <lora:neon:0.8>"))[1] == (LoraUse("neon", 0.8),)


def test_those_of_the_prompt_are_added_to_those_beside_it():
    assert asked("<lora:neon:0.5>", {"neon": 0.25, "ink": 1}) == (LoraUse("neon", 0.75), LoraUse("ink", 1))


def test_a_range_is_a_part_of_the_steps():
    uses = split("<lora:a:1:0-0.5> <lora:b:1:0.5-1>")[1]
    assert [[name for name, _ in at(uses, step / 4)] for step in range(4)] == [["a"], ["a"], ["b"], ["b"]]
    assert listed(uses)[0] == {"name": "a", "weight": 1.0, "range": "0-0.5"}
    assert listed(split("<lora:a:1:0.0000001-1>")[1])[0]["range"] == "0.0000001-1"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("<lora:neon:strong>", "<lora:neon:strong> has no weight that is a number"),
        ("<lora:neon:1:0.5-0.2>", "has no range of steps"),
        ("<lora:neon:1.5> <lora:neon:1>", "'neon' cannot have the weight 2.5; -2 to 2 is allowed"),
        ("<lora:neon:1:0-0.5> <lora:neon:1:0.5-1>", "'neon' is asked for in 0-0.5 and 0.5-1; one range is allowed"),
        (" ".join(f"<lora:l{i}>" for i in range(9)), "9 LoRAs are asked for; at most 8"),
    ],
)
def test_mistakes_are_named(prompt, says):
    with pytest.raises(ArtflowError, match=says):
        asked(prompt, {})


def test_parameters_take_a_dict_or_what_a_recipe_has():
    assert LiveParams(loras={"neon": 0.5}).loras == LiveParams(loras=[{"name": "neon", "weight": 0.5}]).loras
    ranged, twice = [{"name": "neon", "range": "0-0.5"}], [{"name": "neon"}] * 2
    for bad in ({"neon": 2.5}, {f"l{i}": 1.0 for i in range(9)}, {"": 1.0}, ["neon"], ranged, twice):
        with pytest.raises(ValueError):
            LiveParams(loras=bad)
