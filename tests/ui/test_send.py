"""What "send to" hands over."""

from __future__ import annotations

from artflow.ui.send import _prompt


def test_the_prompt_is_sent_with_its_loras():
    recipe = {"prompt": "a cat", "loras": [{"name": "neon", "weight": 0.8, "range": "0-0.5"}]}
    assert _prompt(recipe, wanted=True) == ["a cat <lora:neon:0.8:0-0.5>"]
    assert _prompt(recipe, wanted=False) == []
