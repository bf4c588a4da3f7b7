"""ComfyUI's graphs: follows links from the sampler to the texts, the size and the checkpoint.

``prompt`` is the graph that was run: nodes by id, with named inputs that are values or links ``[node id, output]``.
``workflow`` is the editor's: lists of nodes and links; its widget values have no names, only an order by node type.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from artflow.metadata.values import Metadata, json_object, normalized

Node = Mapping[str, Any]
Graph = Mapping[str, Node]  # as in `prompt`: {"class_type": ..., "inputs": {...}}

SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
# The widgets of these nodes in the order in which the editor stores their values.
WIDGETS = {
    "KSampler": ("seed", "control", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "control", "steps", "cfg", "sampler_name", "scheduler", "start_at_step",
        "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "control", "cfg"),
    "CLIPTextEncode": ("text",),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "EmptySD3LatentImage": ("width", "height", "batch_size"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "RandomNoise": ("noise_seed",),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", "control"),
}  # fmt: skip
NOTHING = "ConditioningZeroOut"  # the texts behind it are not used
TEXTS = dict.fromkeys(("text", "text_g", "prompt", "string", "value", "text_l", "t5xxl", "clip_l")).keys()
NUMBERS = ("value", "seed", "noise_seed", "number", "int", "float")
LONGEST_WALK = 200  # nodes looked at for one answer; a graph may go in circles
MOST_LINKS = 2000  # links followed for one answer; many may lead nowhere
MOST_SAMPLERS = 32


def read(prompt: str, workflow: str) -> Metadata | None:
    """The parameters out of the two texts of a picture (JSON each, or empty); None where they hold no graph of ours."""
    ran, drawn = json_object(prompt), json_object(workflow)
    try:
        values = (from_prompt(ran) if ran else {}) or (from_workflow(drawn) if drawn else {})
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):  # JSON, but of no graph
        return None
    return normalized("ComfyUI", values, {}) if values else None


def from_prompt(graph: Mapping[str, Any]) -> dict[str, Any]:
    """What the graph was run with, by ArtFlow's names; empty if it has no sampler."""
    nodes = {str(key): node for key, node in graph.items() if _is_node(node)}
    # A later sampler is a second pass over a larger picture; the first one determines the content.
    samplers = [node for node in nodes.values() if node["class_type"] in SAMPLERS][:MOST_SAMPLERS]
    before = {id(node): _sampler_before(nodes, node) for node in samplers}
    first = min(samplers, key=lambda node: _passes(before, node), default=None)
    return _values(nodes, first) if first is not None else {}


def from_workflow(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """As `from_prompt`, from the editor's ``workflow``."""
    links = {link[0]: link for link in workflow.get("links") or [] if isinstance(link, list) and len(link) >= 4}
    graph = {}
    for node in workflow.get("nodes") or []:
        if not (isinstance(node, dict) and isinstance(node.get("type"), str)):
            continue
        values = node.get("widgets_values") or []
        inputs = dict(values) if isinstance(values, dict) else dict(zip(WIDGETS.get(node["type"], ()), values))
        for slot in node.get("inputs") or []:
            link = links.get(slot.get("link")) if isinstance(slot, dict) else None
            if link is not None:
                inputs[slot.get("name")] = [str(link[1]), link[2]]
        graph[str(node.get("id"))] = {"class_type": node["type"], "inputs": inputs}
    return from_prompt(graph)


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _values(nodes: Graph, sampler: Node) -> dict[str, Any]:
    inputs = sampler["inputs"]
    found: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        if value is not None:
            found[name] = value

    positive, negative = _conditions(nodes, inputs)
    note("prompt", positive)
    note("negative_prompt", negative)
    for ours, theirs in (
        ("seed", ("seed", "noise_seed")), ("steps", ("steps",)), ("guidance_scale", ("cfg",)),
        ("sampler", ("sampler_name",)),
    ):  # fmt: skip
        note(ours, _setting(nodes, sampler, theirs))
    denoise = _setting(nodes, sampler, ("denoise",))
    if isinstance(denoise, (int, float)) and denoise < 1:
        note("strength", denoise)
    size = _search(nodes, inputs.get("latent_image"), lambda node: {"width", "height"} <= node["inputs"].keys())
    if size is not None:
        note("width", _value(nodes, size["inputs"]["width"], NUMBERS))
        note("height", _value(nodes, size["inputs"]["height"], NUMBERS))
    loader = _search(nodes, inputs.get("model") or inputs.get("guider"), lambda node: _file_of(node) is not None)
    if loader is not None:
        note("model", _file_of(loader))
    return found


def _conditions(nodes: Graph, inputs: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Prompt and negative prompt; a custom sampler has them behind its guider."""
    if "positive" in inputs:
        return _text(nodes, inputs.get("positive")), _text(nodes, inputs.get("negative"))
    guider = _target(nodes, inputs.get("guider"))
    if guider is None:
        return None, None
    behind = guider["inputs"]
    return _text(nodes, behind.get("positive", behind.get("conditioning"))), _text(nodes, behind.get("negative"))


def _setting(nodes: Graph, sampler: Node, names: tuple[str, ...]) -> Any:
    """The first of these inputs, of the sampler or a node linked to it (a custom sampler has noise and steps there)."""
    for name in names:
        if name in sampler["inputs"]:
            return _value(nodes, sampler["inputs"][name], NUMBERS)
    for behind in ("noise", "sigmas", "sampler", "guider"):
        node = _target(nodes, sampler["inputs"].get(behind))
        for name in names:
            if node is not None and name in node["inputs"]:
                return _value(nodes, node["inputs"][name], NUMBERS)
    return None


def _text(nodes: Graph, link: Any) -> str | None:
    """The text behind a conditioning link, through any nodes in between."""
    node = _search(
        nodes, link, lambda node: node["class_type"] == NOTHING or not TEXTS.isdisjoint(node["inputs"]), _of_two
    )
    if node is None:
        return None
    if node["class_type"] == NOTHING:
        return ""
    texts = (_value(nodes, node["inputs"][name], tuple(TEXTS)) for name in TEXTS if name in node["inputs"])
    return next((text for text in texts if isinstance(text, str)), None)


def _value(nodes: Graph, value: Any, names: tuple[str, ...]) -> Any:
    """A value, or the one at the end of a chain of links."""
    for _ in range(LONGEST_WALK):
        node = _target(nodes, value)
        if node is None:
            return None if isinstance(value, (list, dict)) else value
        value = next((node["inputs"][name] for name in names if name in node["inputs"]), None)
    return None


def _target(nodes: Graph, link: Any) -> Node | None:
    return nodes.get(str(link[0])) if isinstance(link, list) and len(link) == 2 else None


def _all(node: Node, output: Any) -> list[Any]:
    return [value for value in node["inputs"].values() if isinstance(value, list)]


def _of_two(node: Node, output: Any) -> list[Any]:
    """The links behind an output of a conditioning node; if it has two (ControlNet, inpaint), the first is positive."""
    inputs = node["inputs"]
    if output in (0, 1) and {"positive", "negative"} <= inputs.keys():
        return [inputs["positive" if output == 0 else "negative"]]
    return _all(node, output)


def _search(
    nodes: Graph,
    link: Any,
    wanted: Callable[[Node], bool],
    behind: Callable[[Node, Any], list[Any]] = _all,
) -> Node | None:
    """The nearest ``wanted`` node behind a link, breadth first; ``behind`` gives the links of a node to follow."""
    waiting = deque([link])
    seen: set[str] = set()
    for _ in range(MOST_LINKS):
        if not waiting or len(seen) >= LONGEST_WALK:
            break
        link = waiting.popleft()
        node = _target(nodes, link)
        if node is None or str(link[0]) in seen:
            continue
        seen.add(str(link[0]))
        if wanted(node):
            return node
        waiting += behind(node, link[1])
    return None


def _sampler_before(nodes: Graph, sampler: Node) -> Node | None:
    """The sampler right before this one, or None."""
    return _search(nodes, sampler["inputs"].get("latent_image"), lambda other: other["class_type"] in SAMPLERS)


def _passes(before: Mapping[int, Node | None], sampler: Node) -> int:
    """The number of samplers before this one; bounded, since a graph may have cycles."""
    count, node = 0, before.get(id(sampler))
    while node is not None and count <= len(before):
        count, node = count + 1, before.get(id(node))
    return count


def _file_of(node: Node) -> str | None:
    """The checkpoint's file without folder and ending, which is how A1111 names a model."""
    for name in ("ckpt_name", "unet_name"):
        value = node["inputs"].get(name)
        if isinstance(value, str) and value:
            return value.replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return None
