"""Each program's own way to say what a picture was made with."""

from __future__ import annotations

import html
import io
import json
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from artflow.errors import ArtflowError
from artflow.metadata import read_metadata
from tests.metadata.files import png, with_exif

VALUES = {
    "prompt": "a red fox", "negative_prompt": "blurry", "steps": 20, "sampler": "Euler a", "guidance_scale": 7,
    "seed": 5, "width": 1152, "height": 896, "model": "dream_1.0",
}  # fmt: skip
LORA = {"loras": [{"name": "style", "weight": 0.5}]}

FOOOCUS = json.dumps({
    "prompt": "a red fox", "negative_prompt": "blurry", "steps": 20, "sampler": "euler_ancestral", "seed": "5",
    "guidance_scale": 7.0, "resolution": "(1152, 896)", "base_model": "dream_1.0", "scheduler": "karras",
    "loras": [["style.safetensors", 0.5, "abc"]], "metadata_scheme": "fooocus", "version": "Fooocus v2.5.0",
})  # fmt: skip
INVOKE = {
    "positive_prompt": "a red fox", "negative_prompt": "blurry", "steps": 20, "scheduler": "euler_a", "seed": 5,
    "cfg_scale": 7.0, "width": 1152, "height": 896, "model": {"name": "dream_1.0", "base": "sdxl"},
    "loras": [{"model": {"name": "style"}, "weight": 0.5}], "app_version": "5.0",
}  # fmt: skip
SWARM = json.dumps({
    "sui_image_params": {
        "prompt": "a red fox", "negativeprompt": "blurry", "steps": 20, "sampler": "euler_ancestral", "seed": 5,
        "cfgscale": 7.0, "width": 1152, "height": 896, "model": "folder/dream_1.0.safetensors", "loras": ["style"],
        "loraweights": ["0.5"], "swarm_version": "0.9",
    },
    "sui_extra_data": {"date": "today"},
})  # fmt: skip
NOVEL = {
    "Description": "a red fox", "Software": "NovelAI", "Source": "NovelAI Diffusion V4 37C2B166",
    "Comment": json.dumps({
        "prompt": "a red fox", "uc": "blurry", "steps": 20, "sampler": "k_euler_ancestral", "seed": 5, "scale": 7.0,
        "width": 1152, "height": 896,
        "v4_prompt": {"caption": {"base_caption": "a red fox", "char_captions": [{"char_caption": "girl, hat"}]}},
    }),
}  # fmt: skip
SDNEXT = (
    "a red fox\nNegative prompt: blurry\n"
    "Steps: 20| Size: 1152x896| Seed: 5| Sampler: Euler a| CFG scale: 7| Model: dream_1.0| App: SD.Next| Seed: 6"
)
DRAW = json.dumps({
    "c": "a red fox", "uc": "blurry", "steps": 20, "sampler": "Euler Ancestral", "seed": 5, "scale": 7,
    "size": "1152x896", "model": "dream_1.0.ckpt", "strength": 1, "lora": [{"model": "style.ckpt", "weight": 0.5}],
})  # fmt: skip


def xmp(comment: str) -> bytes:
    return (
        '<x:xmpmeta><rdf:Description><exif:UserComment> <rdf:Alt> <rdf:li xml:lang="x-default">'
        f"{html.escape(comment)}</rdf:li></rdf:Alt></exif:UserComment></rdf:Description></x:xmpmeta>"
    ).encode()


def with_xmp(kind: str, comment: str) -> bytes:
    out = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(comment).decode())
    image = Image.new("RGB", (8, 8))
    image.save(out, kind, **({"pnginfo": info} if kind == "PNG" else {"xmp": xmp(comment)}))
    return out.getvalue()


@pytest.mark.parametrize(
    ("source", "data", "more"),
    [
        ("Fooocus", png(parameters=FOOOCUS, fooocus_scheme="fooocus"), LORA),
        ("Fooocus", with_exif("JPEG", {0x9286: FOOOCUS, 0x0131: "Fooocus v2.5", 0x927C: "fooocus"}), LORA),
        ("Fooocus", with_exif("WEBP", {0x9286: FOOOCUS, 0x0131: "Fooocus v2.5", 0x927C: "fooocus"}), LORA),
        ("InvokeAI", png(invokeai_metadata=json.dumps(INVOKE), invokeai_graph="{}"), LORA),
        ("SwarmUI", png(parameters=SWARM), LORA),
        ("SwarmUI", with_exif("JPEG", comment=b"ASCII\0\0\0" + SWARM.encode()), LORA),
        ("NovelAI", png(**NOVEL), {"prompt": "a red fox\ngirl, hat", "model": NOVEL["Source"]}),
        ("NovelAI", with_exif("WEBP", comment=b"ASCII\0\0\0" + json.dumps(NOVEL).encode()),
         {"prompt": "a red fox\ngirl, hat", "model": NOVEL["Source"]}),
        ("SD.Next", png(parameters=SDNEXT), {}),
        ("SD.Next", with_exif("JPEG", comment=b"UNICODE\0" + SDNEXT.encode("utf-16-be")), {}),
        *(("Draw Things", with_xmp(kind, DRAW), LORA) for kind in ("PNG", "JPEG", "WEBP")),
    ],
)  # fmt: skip
def test_dialect(source: str, data: bytes, more: dict[str, Any]) -> None:
    found = read_metadata(data)
    assert (found.source, dict(found.values)) == (source, VALUES | more)


def test_fooocus_with_the_scheme_of_a1111() -> None:
    text = (
        "a fox\nNegative prompt: bad\nSteps: 30, Sampler: Euler a, Seed: 5, Size: 1152x896, CFG scale: 4, Sharpness: 2"
    )
    tags = {0x9286: text, 0x0131: "Fooocus v2.5", 0x927C: "a1111"}
    for data in (with_exif("JPEG", tags), png(parameters=text, fooocus_scheme="a1111")):
        values = read_metadata(data).values
        assert (values["prompt"], values["steps"], values["width"]) == ("a fox", 30, 1152)


@pytest.mark.parametrize(
    "texts",
    [
        {"sd-metadata": json.dumps({"model_weights": "dream_1.0", "image": {
            "prompt": [{"prompt": "a red fox [blurry]", "weight": 1}], "steps": 20, "cfg_scale": 7, "seed": 5,
            "width": 1152, "height": 896, "sampler": "k_euler_a"}})},
        {"Dream": '"a red fox [blurry]" -s 20 -S 5 -W 1152 -H 896 -C 7.0 -A k_euler_a'},
    ],
)  # fmt: skip
def test_older_invokeai(texts: dict[str, str]) -> None:
    values = dict(read_metadata(png(**texts)).values)
    assert {"model": "dream_1.0"} | values == VALUES


@pytest.mark.parametrize("name", ["parameters", "invokeai_metadata", "sd-metadata", "Comment", "prompt", "workflow"])
@pytest.mark.parametrize(
    "data",
    [
        {"metadata_scheme": "fooocus", "loras": [[], 5, [{}, 1]], "resolution": [], "seed": [], "prompt": 5},
        {"sui_image_params": {"loras": [5, None], "loraweights": 3, "model": {}, "prompt": {}}},
        {"sui_image_params": 5}, {"version": 3},
        {"uc": {}, "sampler": [], "v4_prompt": {"caption": {"char_captions": 5}}},
        {"model": {"name": 5}, "loras": [{"model": 4}, 3], "scheduler": {}}, {"image": {"prompt": [5, {"prompt": {}}]}},
        {"nodes": [{"id": [], "type": "KSampler", "inputs": 5}], "links": [[1], {}, 5],
         "definitions": {"subgraphs": 5}},
        {"nodes": [{"id": 1, "type": "x", "mode": [], "inputs": [{"link": []}]}], "definitions": [1]},
        {"1": {"class_type": "KSampler", "inputs": {"positive": [[], {}], "negative": ["1", "x"], "steps": [1, 2, 3]}}},
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_types_are_no_crash(name: str, data: dict[str, Any]) -> None:
    try:
        found = read_metadata(png(**{name: json.dumps(data)}))
    except ArtflowError as error:
        assert error.code == "no_parameters"
    else:
        assert not {"prompt", "seed", "width", "model", "steps"} & found.values.keys()
