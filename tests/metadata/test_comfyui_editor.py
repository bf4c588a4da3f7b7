"""ComfyUI's editor's graphs (subgraphs, bypassed and muted nodes), and graphs that were made to hurt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from artflow.metadata import read_metadata
from artflow.metadata.comfyui import read as read_graph
from tests.metadata.files import png, seconds, with_exif
from tests.metadata.test_comfyui import BASE, Graph, node


def drawn(id_: int, kind: str, values: Any = None, inputs: Any = (), **more: Any) -> dict[str, Any]:
    slots = [{"name": name, "type": type_, "link": link} for name, type_, link in inputs]
    return {"id": id_, "type": kind, "widgets_values": values, "inputs": slots, **more}


def editor(mode: int = 0, host_values: Any = None, switch: bool = True) -> dict[str, Any]:
    """A sampler in a subgraph in a subgraph; the text comes from outside through a node of this mode."""
    inner = {
        "id": "inner", "inputs": [{"name": "text", "type": "STRING"}, {"name": "cfg", "type": "FLOAT"}],
        "nodes": [
            drawn(1, "KSampler", [7, "randomize", 20, 8, "euler", "normal", 1],
                  [("model", "MODEL", 1), ("positive", "CONDITIONING", 2), ("negative", "CONDITIONING", 3),
                   ("latent_image", "LATENT", 4), ("cfg", "FLOAT", 6)]),
            drawn(2, "CheckpointLoaderSimple", ["v1-5.ckpt"]),
            drawn(3, "CLIPTextEncode", ["its own"], [("clip", "CLIP", None), ("text", "STRING", 5)]),
            drawn(4, "CLIPTextEncode", ["bad"]), drawn(5, "EmptyLatentImage", [448, 320, 1]),
        ],
        "links": [
            {"id": 1, "origin_id": 2, "origin_slot": 0, "target_id": 1, "target_slot": 0},
            {"id": 2, "origin_id": 3, "origin_slot": 0, "target_id": 1, "target_slot": 1},
            {"id": 3, "origin_id": 4, "origin_slot": 0, "target_id": 1, "target_slot": 2},
            {"id": 4, "origin_id": 5, "origin_slot": 0, "target_id": 1, "target_slot": 3},
            {"id": 5, "origin_id": -10, "origin_slot": 0, "target_id": 3, "target_slot": 1},
            {"id": 6, "origin_id": -10, "origin_slot": 1, "target_id": 1, "target_slot": 4},
            {"id": 7, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
    }  # fmt: skip
    outer = {
        "id": "outer", "inputs": [{"name": "text", "type": "STRING"}],
        "nodes": [drawn(9, "inner", host_values, [("text", "STRING", 1)])],
        "links": [{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 9, "target_slot": 0},
                  {"id": 2, "origin_id": 9, "origin_slot": 0, "target_id": -20, "target_slot": 0}],
    }  # fmt: skip
    return {
        "nodes": [
            drawn(20, "outer", None, [("text", "STRING", 1)]),
            drawn(21, "Reroute", None, [("", "*", 2)]),
            drawn(22, "StringTrim", ["", "Both"], [("string", "STRING", 3)], mode=mode,
                  outputs=[{"name": "STRING", "type": "STRING"}]),
            drawn(23, "ComfySwitchNode", [switch], [("on_false", "STRING", None), ("on_true", "STRING", 4)]),
            drawn(24, "PrimitiveStringMultiline", [" a green bird "]),
            drawn(25, "SaveImage", ["x"], [("images", "IMAGE", 5)]),
        ],
        "links": [[1, 21, 0, 20, 0, "STRING"], [2, 22, 0, 21, 0, "*"], [3, 23, 0, 22, 0, "STRING"],
                  [4, 24, 0, 23, 1, "STRING"], [5, 20, 0, 25, 0, "LATENT"]],
        "definitions": {"subgraphs": [inner, outer]},
    }  # fmt: skip


EDITED = {
    "prompt": "a green bird", "negative_prompt": "bad", "seed": 7, "steps": 20, "guidance_scale": 8,
    "sampler": "Euler", "width": 448, "height": 320, "model": "v1-5",
}  # fmt: skip


def test_subgraphs_are_followed() -> None:
    found = read_metadata(png(workflow=json.dumps(editor())))
    assert (dict(found.values), found.missing) == (EDITED, ())
    assert read_metadata(png(workflow=json.dumps(editor(host_values=["x", 3.5])))).values["guidance_scale"] == 3.5


def test_bypassed_nodes_hand_on_and_muted_ones_are_not_there() -> None:
    assert read_metadata(png(workflow=json.dumps(editor(mode=4)))).values["prompt"] == " a green bird "
    muted = read_metadata(png(workflow=json.dumps(editor(mode=2))))
    assert "prompt" not in muted.values and muted.missing == ("prompt",)
    off = read_metadata(png(workflow=json.dumps(editor(switch=False))))
    assert "prompt" not in off.values and off.missing == ("prompt",)


def test_a_sampler_that_is_bypassed_or_muted_drew_nothing() -> None:
    for mode in (2, 4):
        graph = editor()
        graph["nodes"][0]["mode"] = mode
        assert read_graph("", json.dumps(graph)) is None


def test_a_stored_word_of_any_node_is_no_prompt() -> None:
    graph = editor()
    graph["nodes"][4] = drawn(24, "FluxKontextMethod", ["index_timestep_zero"], outputs=[{"type": "STRING"}])
    assert "prompt" not in read_metadata(png(workflow=json.dumps(graph))).values


@pytest.mark.parametrize("code", ["utf-8", "utf-16-be"])
def test_an_editors_graph_in_user_comment(code: str) -> None:
    data = with_exif("WEBP", comment=b"UNICODE\0" + json.dumps(editor()).encode(code))
    assert dict(read_metadata(data).values) == EDITED


# -- graphs that were made to hurt -------------------------------------------------------------------------------------


def doubling(join: str, first: str, second: str) -> Graph:
    graph = {str(i): node(join, **{first: [str(i + 1), 0], second: [str(i + 1), 0]}) for i in range(100, 160)}
    return graph | {"160": node("PrimitiveString", value="x" * 40_000)}


def nested(depth: int) -> dict[str, Any]:
    subgraphs = [
        {"id": f"s{i}", "nodes": [drawn(k, f"s{i + 1}") for k in range(20)], "links": []} for i in range(depth)
    ] + [{"id": "s5", "nodes": [drawn(1, "s0")], "links": []}]
    return {"nodes": [drawn(1, "s0")], "links": [], "definitions": {"subgraphs": subgraphs}}


HOSTILE: dict[str, tuple[Graph, dict[str, Any]]] = {
    "doubling texts": (BASE | doubling("StringConcatenate", "string_a", "string_b")
                       | {"6": node("CLIPTextEncode", text=["100", 0])}, {}),
    "doubling conditionings": (BASE | doubling("ConditioningCombine", "conditioning_1", "conditioning_2")
                               | {"6": node("ConditioningCombine", conditioning_1=["100", 0])}, {}),
    "a chain": (BASE | {str(i): node("Text", text=[str(i + 1), 0]) for i in range(100, 20_000)}
                | {"6": node("CLIPTextEncode", text=["100", 0])}, {}),
    "switches": (BASE | {"6": node("CLIPTextEncode", text=["100", 0])}
                 | {str(i): node("switch", select=[str(i + 1), 0], **{f"input{k}": [str(i + 1), 0] for k in range(20)})
                    for i in range(100, 1500)}, {}),
    "a wide switch": (BASE | {"a": node("switch", **{f"x{i}": [f"y{i}", 0] for i in range(50_000)}),
                              "6": node("CLIPTextEncode", text=["a", 0])}, {}),
    "samplers": (BASE | {f"s{i}": node("KSampler", **BASE["3"]["inputs"]) for i in range(4000)}
                 | {f"t{i}": node("SaveImage", images=[f"s{i}", 0]) for i in range(4000)}, {}),
    "a long class": ({str(i): node("x" * 100_000, positive=[str(i), 0], negative=["1", 0], seed=1)
                      for i in range(15)}, {}),
    "subgraphs in each other": ({}, nested(8)),
    "wide links": ({}, {"nodes": [drawn(i, "KSampler", [1], [("positive", "C", i)]) for i in range(9000)],
                        "links": [[i, i + 1, 0, i, 0, "C"] for i in range(9000)]}),
}  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_read_within_a_second(name: str) -> None:
    prompt, workflow = (json.dumps(one) if one else "" for one in HOSTILE[name])
    assert seconds(lambda: read_graph(prompt, workflow)) < 1
