"""Reading settings back: from files as ArtFlow, A1111 and ComfyUI write them, and from files that hold none."""

from __future__ import annotations

import contextlib
import io
import json
from functools import partial
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from artflow.errors import ArtflowError
from artflow.images import NAMES
from artflow.metadata import carried_recipe, encode_png, fitting, read_metadata
from artflow.modes.text import TextParams
from tests.metadata.files import as_gif, png, seconds, with_exif
from tests.support.live import noisy

A1111 = """a castle on a hill, (sunset:1.2), <lora:foo:0.8>
second line: with a colon
Negative prompt: blurry, low quality
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 1234567890, Size: 640x512, Model hash: abc123, \
Model: dreamshaper_8, Denoising strength: 0.45, Lora hashes: "foo: 11, bar: 22", Version: v1.9.4"""

PROMPT: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 42, "steps": 22, "cfg": 7.5, "sampler_name": "euler_ancestral", "scheduler": "normal",
            "denoise": 1.0, "model": ["10", 0], "positive": ["20", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd15\\model-v1.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["30", 0], "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly", "clip": ["10", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0], "clip": ["4", 1]}},
    "20": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0], "image": ["99", 0]}},
    "30": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": "a red fox"}},
}  # fmt: skip

WORKFLOW = {
    "nodes": [
        {"id": 3, "type": "KSampler", "widgets_values": [7, "randomize", 20, 8, "euler", "normal", 1],
         "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 4}, {"name": "negative", "link": 6},
                    {"name": "latent_image", "link": 2}]},
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["v1-5.ckpt"]},
        {"id": 5, "type": "EmptyLatentImage", "widgets_values": [448, 320, 1]},
        {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a green bird"],
         "inputs": [{"name": "clip", "link": 3}]},
        {"id": 7, "type": "CLIPTextEncode", "widgets_values": ["text"], "inputs": [{"name": "clip", "link": 5}]},
    ],
    "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 5, 0, 3, 3, "LATENT"], [3, 4, 1, 6, 0, "CLIP"],
              [4, 6, 0, 3, 1, "CONDITIONING"], [5, 4, 1, 7, 0, "CLIP"], [6, 7, 0, 3, 2, "CONDITIONING"]],
}  # fmt: skip


def test_our_own() -> None:
    recipe = {"mode": "canvas", "prompt": "ein Apfel, 苹果", "seed": 7, "steps": 2, "filters": [{"filter": "blur"}]}
    found = read_metadata(encode_png(noisy(1), recipe))
    assert (found.source, found.mode) == ("ArtFlow", "canvas")
    assert dict(found.values) == {key: value for key, value in recipe.items() if key != "mode"}


A1111_VALUES = {
    "prompt": "a castle on a hill, (sunset:1.2)\nsecond line: with a colon", "loras": [{"name": "foo", "weight": 0.8}],
    "negative_prompt": "blurry, low quality", "steps": 28, "sampler": "DPM++ 2M Karras", "guidance_scale": 6.5,
    "seed": 1234567890, "width": 640, "height": 512, "model": "dreamshaper_8", "strength": 0.45,
}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        png(parameters=A1111),
        with_exif("JPEG", comment=b"UNICODE\0" + A1111.encode("utf-16-be")),
        with_exif("JPEG", comment=b"UNICODE\0" + A1111.encode("utf-16-le")),
        with_exif("WEBP", comment=b"ASCII\0\0\0" + A1111.encode()),
        with_exif("WEBP", {0x010E: A1111}),
    ],
)
def test_a1111(data: bytes) -> None:
    found = read_metadata(data)
    assert (found.source, found.mode, dict(found.values)) == ("A1111", "text", A1111_VALUES)
    assert found.unknown["Lora hashes"] == "foo: 11, bar: 22" and found.unknown["Version"] == "v1.9.4"


def test_a1111_as_we_write_it_ourselves() -> None:
    recipe = {"prompt": "a fox", "negative_prompt": "", "steps": 4, "sampler": "LCM", "guidance_scale": 1.0, "seed": 3,
              "width": 256, "height": 256}  # fmt: skip
    data = encode_png(noisy(1), recipe)
    text = Image.open(io.BytesIO(data)).info["parameters"]
    assert dict(read_metadata(png(parameters=text)).values) == recipe


def test_a1111_with_what_we_do_not_have() -> None:
    found = read_metadata(
        png(parameters="a fox\nSteps: 9, Sampler: Heun, Schedule type: Karras, Seed: x, CFG scale: nan")
    )
    assert dict(found.values) == {"prompt": "a fox", "negative_prompt": "", "steps": 9}
    assert found.unknown == {"Schedule type": "Karras", "sampler": "Heun", "seed": "x", "guidance_scale": "nan"}


COMFY_VALUES = {
    "prompt": "a red fox", "negative_prompt": "ugly", "seed": 42, "steps": 22, "guidance_scale": 7.5,
    "sampler": "Euler a", "width": 512, "height": 768, "model": "model-v1", "loras": [{"name": "x"}],
}  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        png(prompt=json.dumps(PROMPT), workflow=json.dumps(WORKFLOW)),
        with_exif("WEBP", {0x0110: "prompt:" + json.dumps(PROMPT), 0x010F: "workflow:" + json.dumps(WORKFLOW)}),
        with_exif("JPEG", comment=b"ASCII\0\0\0prompt:" + json.dumps(PROMPT).encode()),
    ],
)
def test_comfy(data: bytes) -> None:
    found = read_metadata(data)
    assert (found.source, found.mode, dict(found.values)) == ("ComfyUI", "text", COMFY_VALUES)


def test_comfy_editor_alone() -> None:
    values = dict(read_metadata(png(workflow=json.dumps(WORKFLOW))).values)
    assert values == {
        "prompt": "a green bird", "negative_prompt": "text", "seed": 7, "steps": 20, "guidance_scale": 8,
        "sampler": "Euler", "width": 448, "height": 320, "model": "v1-5",
    }  # fmt: skip


def test_comfy_second_pass_and_empty_negative() -> None:
    graph = PROMPT | {
        "7": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}},
        "50": {"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0], "width": 1024, "height": 1536}},
        "51": {"class_type": "KSampler", "inputs": PROMPT["3"]["inputs"] | {"seed": 99, "latent_image": ["50", 0]}},
    }
    values = read_metadata(png(prompt=json.dumps({"51": graph.pop("51")} | graph))).values
    assert (values["seed"], values["width"], values["negative_prompt"]) == (42, 512, "")


def test_comfy_custom_sampler() -> None:
    graph = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "noise": ["2", 0], "guider": ["3", 0], "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0]}},
        "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 11}},
        "3": {"class_type": "BasicGuider", "inputs": {"model": ["7", 0], "conditioning": ["8", 0]}},
        "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "5": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 4, "denoise": 0.5}},
        "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": ["9", 0], "height": 640}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux/x.safetensors"}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
        "9": {"class_type": "PrimitiveInt", "inputs": {"value": 832}},
    }  # fmt: skip
    assert dict(read_metadata(png(prompt=json.dumps(graph))).values) == {
        "prompt": "a cat", "seed": 11, "steps": 4, "sampler": "Euler", "strength": 0.5, "width": 832, "height": 640,
        "model": "x",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["ControlNetApplyAdvanced", "InpaintModelConditioning"])
def test_comfy_nodes_of_two_conditionings_keep_them_apart(kind: str) -> None:
    sampler = {"positive": ["12", 0], "negative": ["12", 1], "latent_image": ["12", 2]}
    both = {"positive": ["6", 0], "negative": ["7", 0], "pixels": ["5", 0]}
    graph = PROMPT | {
        "3": {"class_type": "KSampler", "inputs": PROMPT["3"]["inputs"] | sampler},
        "12": {"class_type": kind, "inputs": both},
    }
    values = read_metadata(png(prompt=json.dumps(graph))).values
    assert (values["prompt"], values["negative_prompt"]) == ("a red fox", "ugly")
    assert (values["width"], values["height"]) == (512, 768)


def test_comfy_model_behind_a_guider_of_two_texts() -> None:
    graph = {
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {"guider": ["3", 0], "latent_image": ["6", 0]}},
        "3": {"class_type": "CFGGuider", "inputs": {"model": ["7", 0], "positive": ["8", 0], "negative": ["9", 0]}},
        "6": {"class_type": "Sampler of others", "inputs": {"positive": ["8", 0], "negative": ["9", 0],
                                                            "latent_image": ["10", 0]}},
        "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "chroma.safetensors"}},
        "8": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat"}},
        "9": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}},
        "10": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 768}},
    }  # fmt: skip
    assert dict(read_metadata(png(prompt=json.dumps(graph))).values) == {
        "prompt": "a cat", "negative_prompt": "a dog", "width": 1024, "height": 768, "model": "chroma",
    }  # fmt: skip


@pytest.mark.parametrize("workflow", [
    {"nodes": 5}, {"nodes": [{"id": 1, "type": "KSampler", "widgets_values": 5}]},
    {"nodes": [{"id": 1, "type": "KSampler", "inputs": [{"name": "x", "link": {}}]}], "links": [[[], 1, 0, 1]]},
])  # fmt: skip
def test_comfy_without_a_graph_is_silent(workflow: dict) -> None:
    data = png(workflow=json.dumps(workflow))
    with pytest.raises(ArtflowError, match="holds no settings"):
        read_metadata(data)
    assert carried_recipe(data) == {}


def test_comfy_in_circles_ends() -> None:
    graph = PROMPT | {
        "20": {"class_type": "A", "inputs": {"x": ["21", 0]}},
        "21": {"class_type": "B", "inputs": {"x": ["20", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": ["31", 0]}},
        "31": {"class_type": "Reroute", "inputs": {"text": ["31", 0]}},
    }
    values = read_metadata(png(prompt=json.dumps(graph))).values
    assert "prompt" not in values and values["seed"] == 42


@pytest.mark.parametrize(
    "data",
    [
        png(), png(parameters="just some words"), png(artflow="[1]"), png(prompt="{}"), png(prompt='{"1": {"a": 2}}'),
        png(workflow='{"nodes": [3, {"id": 1}], "links": [1]}'), png(parameters=""), with_exif("JPEG"),
        with_exif("JPEG", comment=b"UNICODE\0"), with_exif("WEBP", {0x0110: "Canon EOS"}), png(prompt="[" * 9000),
        as_gif(),
    ],
)  # fmt: skip
def test_a_silent_picture_says_so(data: bytes) -> None:
    with pytest.raises(ArtflowError) as raised:
        read_metadata(data)
    assert raised.value.code == "no_parameters"
    assert carried_recipe(data) == {}


@pytest.mark.parametrize("data", [b"", b"a text", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_says_so(data: bytes) -> None:
    with pytest.raises(ArtflowError) as raised:
        read_metadata(data)
    assert raised.value.code == "bad_picture"
    assert raised.value.message == f"These {len(data)} bytes are no {NAMES} picture."


def test_a_broken_picture_says_so() -> None:
    with pytest.raises(ArtflowError, match="The picture cannot be read: ") as raised:
        read_metadata(encode_png(noisy(1), {"prompt": "a fox"})[:-60])
    assert raised.value.code == "bad_picture" and "<" not in raised.value.message


# -- what anybody's file may not do: each of these once held the process up for many seconds ---------------------------


@pytest.mark.timeout(10)  # a pattern that tries all ways to match takes minutes
@pytest.mark.parametrize("filler", [" " * 100_000, "a" * 100_000, "a b " * 4000, '"' * 19_000], ids=str.__len__)
def test_a_hostile_last_line_is_read_at_once(filler: str) -> None:
    with contextlib.suppress(ArtflowError):
        read_metadata(png(parameters=f"a cat\nSteps: 20, {filler}!"))


def test_hostile_graphs_are_read_at_once() -> None:
    ring = {str(i): {"class_type": "Node", "inputs": {"a": [str((i + 1) % 190), 0]}} for i in range(190)}
    inputs = {"positive": ["0", 0], "negative": ["1", 0], "seed": 1}
    samplers = {
        f"s{i}": {"class_type": "KSampler", "inputs": inputs | {"latent_image": [str(i % 190), 0]}} for i in range(5000)
    }
    dead = {"class_type": "KSampler", "inputs": inputs | {f"x{i}": [f"nowhere{i}", 0] for i in range(50_000)}}
    for graph in (ring | samplers, {"1": dead, "2": {"class_type": "KSampler", "inputs": inputs}}):
        assert seconds(partial(carried_recipe, png(prompt=json.dumps(graph)))) < 1


def test_what_is_nested_deeper_than_anybody_writes_is_no_recipe() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    with pytest.raises(ArtflowError, match="holds no settings"):
        read_metadata(png(artflow=json.dumps({"mode": "text", "prompt": deep})))


def test_a_huge_picture_is_read_without_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", A1111)
    Image.new("1", (5000, 5000)).save(out, "PNG", pnginfo=info)

    def decoded(image: Image.Image) -> None:
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", decoded)
    assert read_metadata(out.getvalue()).values["steps"] == 28


def test_a_carried_recipe_does_not_say_what_a_model_made_of_the_prompt() -> None:
    facts = {"unknown_words": ["gnu"], "prompt_used": "a cat"}
    data = encode_png(noisy(1), {"mode": "text", "prompt": "a gnu", "seed": 4} | facts)
    assert carried_recipe(data) == {"mode": "text", "prompt": "a gnu", "seed": 4}


def test_only_what_fits_is_filled_in() -> None:
    values = {"prompt": "x", "steps": 500, "sampler": "Heun", "seed": "7", "filters": [], "width": 64, "model": ["x"]}
    good, refused = fitting(values, TextParams)
    assert good == {"prompt": "x", "seed": 7, "width": 64} and refused == ["model", "sampler", "steps"]
