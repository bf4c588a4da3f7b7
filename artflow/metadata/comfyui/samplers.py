"""Which sampler of a graph drew the picture, and what it was set to.

A sampler is a node with a guider, or with a conditioning under ``positive`` and steps or a seed, whatever its class.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from artflow.metadata.comfyui.conditions import Conditions
from artflow.metadata.comfyui.graph import Link, Node, Nodes
from artflow.metadata.comfyui.values import Values
from artflow.metadata.loras import Lora
from artflow.metadata.values import model_name

MOST_LINKS = 2000  # links followed for one answer; many may lead nowhere ...
MOST_LOOKS = 30_000  # ... and for all answers about one graph
MOST_SAMPLERS = 32
SAVES = re.compile(r"save|output|websocket|combine", re.IGNORECASE)
IMAGES = re.compile(r"latent|samples|image|pixels|video|frames|source", re.IGNORECASE)
MODELS = re.compile(r"model|unet|pipe", re.IGNORECASE)
CHANGES_SIZE = re.compile(r"scale|crop|resize|pad|outpaint|rotate", re.IGNORECASE)
NOISES = re.compile(r"noise|sigmas|sampler|guider|options|scheduler", re.IGNORECASE)
SETTINGS = {
    "seed": ("seed", "noise_seed"), "steps": ("steps",), "guidance_scale": ("cfg", "cfg_conds"),
    "sampler": ("sampler_name",), "denoise": ("denoise",),
}  # fmt: skip
SAMPLER_CLASSES = {"SamplerEulerAncestral": "Euler a", "SamplerLCM": "LCM"}  # nodes that are a sampler's name


def settings(nodes: Nodes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a graph was run with, by ArtFlow's names, and the parameters that it has and that cannot be told."""
    return _Graph(nodes).settings()


def _is_sampler(node: Node) -> bool:
    keys = node.inputs.keys()
    if node.through is not None:
        return False
    if isinstance(node.inputs.get("guider"), Link):
        return bool(keys & {"sigmas", "sampler", "noise"}) or "latent_image" in keys
    return isinstance(node.inputs.get("positive"), Link) and bool(
        keys & {"steps", "seed", "noise_seed", "sampler_name", "sigmas"}
    )


class _Graph:
    def __init__(self, nodes: Nodes) -> None:
        self._values = Values(nodes)
        self._conditions = Conditions(self._values)
        self._nodes = nodes
        self._looks = 0
        self._samplers = {node.id: node for node in nodes.values() if _is_sampler(node)}

    def settings(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        drawn: dict[str, Node] = {}
        for sampler in self._last()[:MOST_SAMPLERS]:
            first = self._first_pass(sampler)
            drawn[first.id] = first
        if not drawn:
            return {}, ()
        found = [self._of(sampler) for sampler in drawn.values()]
        values, missing = found[0]
        # Of several unrelated samplers the file does not say which drew this picture: only what they share is known.
        differing = {name for other, lost in found for name in (values | other) if values.get(name) != other.get(name)}
        missing |= {name for name in differing if name in ("prompt", "negative_prompt", "seed")}
        return {name: value for name, value in values.items() if name not in differing}, tuple(sorted(missing))

    def _last(self) -> list[Node]:
        """The samplers that no other builds on; those whose pictures are saved, where some are."""
        samplers = list(self._samplers.values())[: MOST_SAMPLERS * 2]
        before = set[str]()
        for sampler in samplers:
            before |= {other.id for other in self._samplers_behind(sampler.inputs.values(), sampler)}
        last = [sampler for sampler in samplers if sampler.id not in before] or samplers
        saved = set[str]()
        for node in [node for node in self._nodes.values() if SAVES.search(node.kind)][:MOST_SAMPLERS]:
            saved |= {other.id for other in self._samplers_behind(node.inputs.values(), node)}
        return [sampler for sampler in last if sampler.id in saved] or last

    def _samplers_behind(self, links: Iterable[Any], node: Node) -> list[Node]:
        """The nearest samplers behind some links, on every way."""
        found: list[Node] = []

        def taken(other: Node) -> bool:
            if other.id in self._samplers and other is not node:
                found.append(other)
            return False

        self._search(links, taken, lambda other: [] if other.id in self._samplers else list(other.inputs.values()))
        return found

    def _first_pass(self, sampler: Node) -> Node:
        """The sampler that began the picture: a later one is a second pass over what it drew.

        One without a prompt made something else out of a picture, such as the depth that this one keeps to.
        """
        for _ in range(len(self._samplers)):
            before = self._search(_links(sampler, IMAGES), lambda node: node.id in self._samplers, _images)
            if before is None or before is sampler or not (self._prompts(before)[0] or "").strip():
                break
            sampler = before
        return sampler

    def _conditioned(self, sampler: Node) -> dict[str, Any]:
        """The inputs that hold the conditionings: the sampler's, or its guider's."""
        guider = self._values.source(sampler.inputs.get("guider"))
        return guider[0].inputs if guider and "positive" not in sampler.inputs else sampler.inputs

    def _prompts(self, sampler: Node) -> tuple[str | None, str | None]:
        return self._conditions.prompts(self._conditioned(sampler))

    def _of(self, sampler: Node) -> tuple[dict[str, Any], set[str]]:
        inputs = sampler.inputs
        guider = self._values.source(inputs.get("guider"))
        positive, negative = self._prompts(sampler)
        found: dict[str, Any] = {"prompt": positive, "negative_prompt": negative}
        missing = {name for name, value in found.items() if value is None}
        if not isinstance(self._conditioned(sampler).get("negative"), Link):
            missing.discard("negative_prompt")
        found |= {ours: self._setting(sampler, theirs) for ours, theirs in SETTINGS.items()}
        denoise = found.pop("denoise")
        if isinstance(denoise, int | float) and 0 < denoise < 1:
            found["strength"] = denoise
        found |= self._size(inputs) | self._model(inputs.get("model") or (guider and guider[1]))
        return {name: value for name, value in found.items() if value is not None}, missing

    def _setting(self, sampler: Node, names: tuple[str, ...]) -> Any:
        """The first of these inputs, of the sampler or the nearest node behind its noise, sigmas, sampler or guider."""

        def says(node: Node) -> bool:
            return not names_of(node).isdisjoint(names) or ("sampler_name" in names and node.kind in SAMPLER_CLASSES)

        def names_of(node: Node) -> set[str]:
            return set(node.inputs)

        node = sampler
        if not says(sampler):
            behind = self._search(_links(sampler, NOISES), says, lambda other: _links(other, NOISES))
            if behind is None:
                return None
            node = behind
        name = next((name for name in names if name in node.inputs), None)
        value = self._values.number(node.inputs[name]) if name else SAMPLER_CLASSES.get(node.kind)
        return None if isinstance(value, bool) else value

    def _size(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The size of the latent that a sampler began with; nothing where it was computed from a picture."""

        def ends(node: Node) -> bool:
            return {"width", "height"} <= node.inputs.keys() or bool(CHANGES_SIZE.search(node.kind))

        links = [value for name, value in inputs.items() if isinstance(value, Link) and IMAGES.search(name)]
        node = self._search(links, ends, _images)
        if node is None:
            return {}
        sides = [self._values.number(node.inputs.get(name)) for name in ("width", "height")]
        known = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides)
        return dict(zip(("width", "height"), sides)) if known else {}

    def _model(self, link: Any) -> dict[str, Any]:
        """The model's file, and the LoRAs on the way to it."""
        loras: list[Lora] = []

        def loads(node: Node) -> bool:
            loras.extend(self._loras(node))
            return _file_of(node) is not None or "merge" in node.kind.lower()

        node = self._search([link], loads, lambda other: _links(other, MODELS))
        named = [lora.as_json() for lora in loras]
        return {"model": _file_of(node) if node else None, "loras": named or None}

    def _loras(self, node: Node) -> list[Lora]:
        inputs, found = node.inputs, []
        for value in [value for value in inputs.values() if isinstance(value, dict) and value.get("on")]:  # rgthree's
            found.append((value.get("lora"), value.get("strength", 1.0)))
        if "lora_name" in inputs:
            strength = self._values.number(inputs.get("strength_model", inputs.get("strength")))
            found.append((self._values.number(inputs["lora_name"]), strength))
        named = [(model_name(name), weight) for name, weight in found if weight != 0]
        return [Lora(name, weight) for name, weight in named if name and name != "None"]

    def _search(
        self, links: Iterable[Any], wanted: Callable[[Node], bool], behind: Callable[[Node], list[Any]]
    ) -> Node | None:
        """The nearest ``wanted`` node behind some links, breadth first; ``behind`` says what to follow of a node."""
        waiting = deque([link for link in links if isinstance(link, Link)][:MOST_LINKS])
        seen: set[str] = set()
        for _ in range(MOST_LINKS):
            self._looks += 1
            if not waiting or self._looks > MOST_LOOKS:
                break
            source = self._values.source(waiting.popleft())
            if source is None or source[0].id in seen:
                continue
            seen.add(source[0].id)
            if wanted(source[0]):
                return source[0]
            waiting += [link for link in behind(source[0]) if isinstance(link, Link)][:MOST_LINKS]
        return None


def _links(node: Node, names: re.Pattern[str]) -> list[Any]:
    return [value for name, value in node.inputs.items() if isinstance(value, Link) and names.search(name)]


def _images(node: Node) -> list[Any]:
    """What a picture or latent is made from; of a node without such inputs nothing."""
    return _links(node, IMAGES)


def _file_of(node: Node | None) -> str | None:
    """The checkpoint's file without folder and ending, which is how A1111 names a model."""
    names = (node.inputs.get(name) for name in ("ckpt_name", "unet_name", "base_ckpt_name")) if node else ()
    return next((name for value in names if (name := model_name(value))), None)
