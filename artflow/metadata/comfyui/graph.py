"""ComfyUI's graphs as nodes with named inputs, from both of its formats.

``prompt`` is the graph that was run: nodes by id, whose inputs are values or links ``[node id, output]``. ``workflow``
is the editor's: lists of nodes and links, stored values without names, muted and bypassed nodes, and subgraphs
(``definitions.subgraphs``, whose links are objects): a node whose type is a subgraph's id stands for all nodes in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from artflow.metadata.comfyui.widgets import named_values

MOST_INPUTS = 1000  # of one node
MOST_NODES = 5_000  # subgraphs may hold each other
LONGEST_NAME = 200  # characters of a class's name that are looked at
DEEPEST = 12  # subgraphs in subgraphs
MUTED, BYPASSED = 2, 4
INPUTS, OUTPUTS = -10, -20  # the ids of a subgraph's own ends
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


class Link(NamedTuple):
    """An input that takes what another node puts out."""

    node: str
    slot: int


@dataclass
class Node:
    """A node; of those that only hand on what they get, ``through`` says what each output is."""

    id: str
    kind: str
    inputs: dict[str, Any]  # values, and `Link`
    through: dict[int, Any] | None = None
    shown: list[str] = field(default_factory=list)  # texts that the editor stored with it
    outputs: list[str] = field(default_factory=list)  # their names, where the editor's graph is there


Nodes = dict[str, Node]


def of_prompt(prompt: Mapping[str, Any]) -> Nodes:
    """The nodes of the graph that was run."""
    nodes = {}
    for key, one in islice(prompt.items(), MOST_NODES):
        if isinstance(one, dict) and isinstance(one.get("class_type"), str) and isinstance(one.get("inputs"), dict):
            inputs = {str(name): _input(value) for name, value in islice(one["inputs"].items(), MOST_INPUTS)}
            nodes[str(key)] = Node(str(key), one["class_type"][:LONGEST_NAME], inputs)
    return nodes


def of_workflow(workflow: Mapping[str, Any]) -> Nodes:
    """The nodes of the editor's graph with those of its subgraphs (``12:5`` is node 5 in the subgraph of node 12)."""
    definitions = workflow.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    subgraphs = {one["id"]: one for one in _objects(listed) if isinstance(one.get("id"), str)}
    nodes: Nodes = {}
    _add(nodes, workflow, subgraphs, "", {}, 0)
    stored: dict[Any, Any] = {}  # KJNodes' pairs, which are connected by a name
    for node in nodes.values():
        if node.kind == "SetNode" and node.shown:
            stored.setdefault(node.shown[0], next(iter(node.inputs.values()), None))
    for node in nodes.values():
        if node.kind == "GetNode" and node.shown:
            node.through = {0: stored.get(node.shown[0])}
    return nodes


def _input(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and isinstance(value[1], int):
        return Link(str(value[0]), value[1])
    return value


def _objects(listed: Any) -> Iterator[dict[str, Any]]:
    return (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else iter(())


def _links(graph: Mapping[str, Any]) -> dict[Any, tuple[Any, int, Any, Any]]:
    """The links of a graph by id: origin, its output, target, its input."""
    found = {}
    listed = graph.get("links")
    for link in listed if isinstance(listed, list) else []:
        if isinstance(link, dict):
            link = [link.get(key) for key in ("id", "origin_id", "origin_slot", "target_id", "target_slot")]
        if isinstance(link, list) and len(link) >= 5 and isinstance(link[0], int) and isinstance(link[2], int):
            found[link[0]] = (link[1], link[2], link[3], link[4])
    return found


def _add(
    nodes: Nodes, graph: Mapping[str, Any], subgraphs: Mapping[str, Any], prefix: str, given: dict[Any, Any], depth: int
) -> None:
    """Add a graph's nodes; ``given`` is what a subgraph gets, by the place among its inputs."""
    links = _links(graph)

    def linked(link: Any, otherwise: Any) -> Any:
        if not isinstance(link, int) or link not in links:
            return otherwise
        origin, slot = links[link][:2]
        return given.get(slot, otherwise) if origin == INPUTS else Link(f"{prefix}{origin}", slot)

    for one in _objects(graph.get("nodes")):
        kind = one.get("type")
        if not isinstance(kind, str) or one.get("mode") == MUTED or len(nodes) >= MOST_NODES:
            continue
        slots = list(_objects(one.get("inputs")))
        inputs = named_values(kind, one.get("widgets_values"), slots, list(_objects(one.get("outputs"))))
        for slot in slots:
            value = linked(slot.get("link"), inputs.get(str(slot.get("name"))))
            if value is not None:
                inputs[str(slot.get("name"))] = value
        node = Node(f"{prefix}{one.get('id')}", kind[:LONGEST_NAME], inputs, shown=_texts(one.get("widgets_values")))
        node.outputs = [str(output.get("name", ""))[:LONGEST_NAME].lower() for output in _objects(one.get("outputs"))]
        nodes[node.id] = node
        inside = subgraphs.get(kind)
        if one.get("mode") == BYPASSED:
            node.through = _bypass(slots, one.get("outputs"), inputs)
        elif inside is not None:
            node.through = {}
            if depth < DEEPEST:
                node.through = _outputs(inside, f"{node.id}:")
                _add(nodes, inside, subgraphs, f"{node.id}:", _given(inside, one, inputs), depth + 1)
        elif kind.startswith("Reroute"):
            node.through = {0: next((value for value in inputs.values() if isinstance(value, Link)), None)}


def _texts(values: Any) -> list[str]:
    """The texts among stored values, which some nodes nest in lists."""
    found: list[str] = []
    for value in values if isinstance(values, list) else []:
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
    return found


def _bypass(slots: list[dict[str, Any]], outputs: Any, inputs: Mapping[str, Any]) -> dict[int, Any]:
    """A bypassed node hands each output the input of its type, that in the same place before others."""
    through = {}
    for place, output in enumerate(_objects(outputs)):
        here = slots[place : place + 1] + slots
        linked = [slot for slot in here if slot.get("link") is not None]
        same = [slot for slot in linked if slot.get("type") == output.get("type")]
        slot = next(iter(same or [slot for slot in linked if slot.get("type") == "*"]), None)
        through[place] = inputs.get(str(slot.get("name"))) if slot else None
    return through


def _outputs(subgraph: Mapping[str, Any], prefix: str) -> dict[int, Any]:
    """What stands behind each output of a subgraph."""
    return {
        place: Link(f"{prefix}{origin}", slot)
        for origin, slot, target, place in _links(subgraph).values()
        if target == OUTPUTS and isinstance(place, int)
    }


def _given(subgraph: Mapping[str, Any], node: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[Any, Any]:
    """What a node gives to its subgraph; where it has no value of its own, those inside keep theirs."""
    wanted = list(_objects(subgraph.get("inputs")))
    stored = node.get("widgets_values")
    widgets = [slot.get("name") for slot in wanted if slot.get("type") in WIDGET_TYPES]
    values: dict[Any, Any] = {}
    if isinstance(stored, list) and len(stored) == len(widgets):
        values = {name: value for name, value in zip(widgets, stored) if isinstance(name, str)}
    values |= {name: value for name, value in inputs.items() if isinstance(value, Link) or name not in values}
    return {
        place: values[slot["name"]]
        for place, slot in enumerate(wanted)
        if isinstance(slot.get("name"), str) and values.get(slot["name"]) is not None
    }
