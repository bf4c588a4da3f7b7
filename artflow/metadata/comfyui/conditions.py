"""The prompts behind the conditionings of a sampler."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from artflow.metadata.comfyui.graph import Link, Node
from artflow.metadata.comfyui.values import LONGEST_TEXT, LONGEST_WALK, Values

NOTHING = "ConditioningZeroOut"  # the texts behind it are not used
TEXTS = (
    "populated_text", "text", "prompt", "text_g", "text_l", "t5xxl", "clip_l", "positive_prompt", "text_positive",
    "string",
)  # fmt: skip
NEGATIVES = ("negative_prompt", "text_negative", "negative")
TWO = re.compile(r"conditioning.*(combine|concat|average)", re.IGNORECASE)
CONDITIONINGS = re.compile(r"cond|positive|negative", re.IGNORECASE)
# Inputs behind which there is no conditioning of this sampler.
OTHERS = re.compile(
    r"model|clip|vae|image|pixels|mask|latent|samples|control|style|video|audio|noise|sigmas|guide|unet|lora",
    re.IGNORECASE,
)


class Said(NamedTuple):
    """A prompt, and where it was found."""

    text: str
    node: str
    slot: int


class Conditions:
    """The prompts of one graph."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._found: dict[tuple[Link, bool], Said | None] = {}

    def prompts(self, inputs: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Prompt and negative prompt behind the inputs of a sampler or guider; None for what cannot be told."""
        first = next((inputs[name] for name in ("positive", "cond1", "conditioning") if name in inputs), None)
        positive, negative = self._said(first, False), self._said(inputs.get("negative"), True)
        # A guider of three (DualCFGGuider) may get the prompt once more in the place of the negative one, for editing.
        if "cond2" in inputs and positive and negative and positive.node == negative.node:
            negative = self._said(inputs["cond2"], True)
            negative = None if negative and negative.node == positive.node else negative
        # Two outputs of one node that are not two texts of it: which of them it made from its text is not said.
        if positive and negative and positive.node == negative.node and positive.slot != negative.slot:
            negative = negative if positive.text != negative.text else None
        return positive.text if positive else None, negative.text if negative else None

    def _said(self, value: Any, negative: bool, depth: int = 0) -> Said | None:
        link = self._values.resolved(value)
        if not isinstance(link, Link):
            return None
        key = (link, negative)
        if key not in self._found and depth < LONGEST_WALK:
            self._found[key] = None  # where the graph goes in a circle
            self._found[key] = self._said_by(self._values.nodes[link.node], link, negative, depth + 1)
        return self._found.get(key)

    def _said_by(self, node: Node, link: Link, negative: bool, depth: int) -> Said | None:
        inputs = node.inputs
        if node.kind == NOTHING:
            return Said("", node.id, link.slot)
        if TWO.search(node.kind):
            return self._of_several(node, link, negative, depth)
        if {"positive", "negative"} <= inputs.keys():
            linked = isinstance(inputs["positive"], Link) and isinstance(inputs["negative"], Link)
            if linked:
                negative = _is_negative(node, link.slot, negative)
            value = inputs["negative" if negative else "positive"]
            text = None if linked else self._values.text(value)
            return Said(text, node.id, link.slot) if text is not None else self._said(value, negative, depth)
        own = next((name for name in NEGATIVES if name in inputs), None) if negative else None
        names = [own] if own else [name for name in TEXTS if name in inputs]
        if names:
            texts = [self._values.text(inputs[name]) for name in names]
            known = [text for text in texts if text is not None]
            text = next((text for text in known if text.strip()), known[0] if len(known) == len(texts) else None)
            return Said(text, node.id, link.slot) if text is not None else None
        return self._behind(inputs, negative, depth)

    def _behind(self, inputs: Mapping[str, Any], negative: bool, depth: int) -> Said | None:
        """The prompt behind a node that changes a conditioning."""
        links = {name: value for name, value in inputs.items() if isinstance(value, Link)}
        named = [value for name, value in links.items() if CONDITIONINGS.search(name)]
        for value in named or [value for name, value in links.items() if not OTHERS.search(name)]:
            if said := self._said(value, negative, depth):
                return said
        return None

    def _of_several(self, node: Node, link: Link, negative: bool, depth: int) -> Said | None:
        """All prompts of conditionings that are put together, each on its line; None if one cannot be told."""
        texts: dict[str, None] = {}
        for name, value in sorted(node.inputs.items(), key=lambda item: item[0] == "conditioning_from"):
            if isinstance(value, Link) and CONDITIONINGS.search(name):
                said = self._said(value, negative, depth)
                if said is None:
                    return None
                if said.text.strip():
                    texts[said.text] = None
        text = "\n".join(texts)
        return Said(text, node.id, link.slot) if len(text) <= LONGEST_TEXT else None


def _is_negative(node: Node, slot: int, asked: bool) -> bool:
    """Whether an output of a node with both conditionings is the negative one: by its name, else as it is used."""
    name = node.outputs[slot] if slot < len(node.outputs) else ""
    if "negative" in name or "positive" in name:
        return "negative" in name
    return asked and slot != 0  # nobody puts the negative one first
