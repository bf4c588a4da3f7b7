"""A1111's text as programs and extensions really write it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from artflow.errors import ArtflowError
from artflow.metadata import a1111, read_metadata
from artflow.metadata.values import Metadata
from tests.metadata.files import png, with_exif, with_raw_text

S = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x512"
VALUES = {"steps": 20, "sampler": "Euler a", "guidance_scale": 7, "seed": 5, "width": 512, "height": 512}


def read(text: str) -> Metadata:
    return read_metadata(png(parameters=text))


@pytest.mark.parametrize(
    ("more", "unknown"),
    [
        (', Wildcard prompt: "a {red|blue}\nfox", Version: v1.6',
         {"Wildcard prompt": "a {red|blue}\nfox", "Version": "v1.6"}),
        (', Wildcard prompt: "a {red|blue}\\nfox, \\"big\\"", Version: v1.6',
         {"Wildcard prompt": 'a {red|blue}\nfox, "big"', "Version": "v1.6"}),
        ("\nTemplate: a __colour__ fox, big\nNegative Template: x",
         {"Template": "a __colour__ fox, big", "Negative Template": "x"}),
        ("\nsaid by nobody", {"after the settings": "said by nobody"}),
        (", odd, Version: v1", {"after the settings": "odd", "Version": "v1"}),
        (',\nVersion: v1, TI hashes: "not closed', {"Version": "v1", "TI hashes": '"not closed'}),
    ],
)  # fmt: skip
def test_facts_begin_at_the_last_line_of_steps_whatever_follows(more: str, unknown: dict[str, Any]) -> None:
    found = read(f"a red fox\nNegative prompt: blurry\n{S}{more}")
    assert dict(found.values) == {"prompt": "a red fox", "negative_prompt": "blurry"} | VALUES
    assert found.unknown == unknown


def test_a_prompt_may_speak_of_steps() -> None:
    values = read(f"Steps: 3 of marble\nSteps: many\n{S}").values
    assert (values["prompt"], values["steps"]) == ("Steps: 3 of marble\nSteps: many", 20)


def test_prompts_without_facts() -> None:
    found = read("a red fox\nNegative prompt: blurry")
    assert dict(found.values) == {"prompt": "a red fox", "negative_prompt": "blurry"}


def test_only_a_line_that_begins_with_it_is_the_negative_prompt() -> None:
    values = read(f"a sign that says Negative prompt: hello\nNegative prompt: blurry\nugly\n{S}").values
    assert values["prompt"] == "a sign that says Negative prompt: hello"
    assert values["negative_prompt"] == "blurry\nugly"


def test_civitai_lists_models_and_loras_as_json() -> None:
    resources = (
        '[{"type":"checkpoint","modelName":"Dream, Model: X","modelVersionName":"8"},'
        '{"type":"lora","weight":0.8,"modelVersionId":9}]'
    )
    found = read(f'a fox\n{S}, Civitai resources: {resources}, Civitai metadata: {{"remixOfId":1}}')
    assert found.values["model"] == "Dream, Model: X"
    assert found.values["loras"] == [{"name": "modelVersionId 9", "weight": 0.8}]
    assert found.unknown["Civitai metadata"] == {"remixOfId": 1} and len(found.unknown["Civitai resources"]) == 2


def test_the_first_of_two_equal_keys_counts() -> None:
    found = read(f"a fox\n{S}, Seed: 6, Model: a, Model: b, Version: 1, Version: 2")
    assert (found.values["seed"], found.values["model"], found.unknown["Version"]) == (5, "a", "1")


def test_loras_are_taken_out_of_the_prompt_and_named() -> None:
    values = read(f"a fox, <lora:foo:0.8>, (sunset:1.2) BREAK <lora:bar>\nNegative prompt: <lora:x:1>bad\n{S}").values
    assert (values["prompt"], values["negative_prompt"]) == ("a fox, (sunset:1.2) BREAK", "bad")
    assert values["loras"] == [{"name": "foo", "weight": 0.8}, {"name": "bar", "weight": 1.0}]
    written = a1111.text(dict(values))
    assert written.splitlines()[0] == "a fox, (sunset:1.2) BREAK <lora:foo:0.8> <lora:bar:1.0>"
    assert read(written).values == values


@pytest.mark.parametrize("loras", [5, [5], [{"name": ""}], {"name": "x"}, None])
def test_whatever_a_recipe_has_for_loras_is_written(loras: object) -> None:
    assert a1111.text({"prompt": "a fox", "loras": loras}) == "a fox\n"


def test_a_model_with_commas_is_written_so_that_it_is_read_back() -> None:
    text = a1111.text({"prompt": "a fox", "steps": 3, "model": 'a, Seed: 4, "b"'})
    assert dict(read(text).values) == {
        "prompt": "a fox", "negative_prompt": "", "steps": 3, "model": 'a, Seed: 4, "b"',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sampler", "ours"), [("sample_euler_ancestral", "Euler a"), ("k_euler", "Euler"), ("DPM++ 2M", "DPM++ 2M Karras")]
)
def test_samplers_by_the_names_of_their_functions(sampler: str, ours: str) -> None:
    assert read(f"a fox\nSteps: 3, Sampler: {sampler}").values["sampler"] == ours


def test_krita_writes_it_too() -> None:
    found = read(
        "a fox <lora:style:0.6>\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, CFG scale: 7.0, Seed: 5, "
        "Size: 512x512, Model hash: unknown, Model: dream.safetensors, Denoising strength: 0.4, Mode: Refine"
    )
    assert dict(found.values) == VALUES | {
        "prompt": "a fox", "negative_prompt": "bad", "model": "dream.safetensors", "strength": 0.4,
        "loras": [{"name": "style", "weight": 0.6}],
    }  # fmt: skip


def test_seeds_are_read_exactly() -> None:
    for seed in (2**53 + 1, 18446744073709551615, -9999999999999999999):
        assert read(f"a fox\nSteps: 2, Seed: {seed}").values["seed"] == seed


TEXT = f"日本の狐\nNegative prompt: schlecht, übel\n{S}"


@pytest.mark.parametrize(
    "data",
    [
        with_raw_text(b"parameters", TEXT.encode()),
        with_exif("WEBP", {0x010E: TEXT.encode()}),
        *(
            with_exif(kind, comment=code + TEXT.encode(encoding))
            for kind in ("JPEG", "WEBP")
            for code in (b"UNICODE\0", b"ASCII\0\0\0", bytes(8), b"JIS\0\0\0\0\0", b"")
            for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")
        ),
    ],
)
def test_text_in_any_code_whatever_name_stands_before_it(data: bytes) -> None:
    found = read_metadata(data)
    assert dict(found.values) == VALUES | {"prompt": "日本の狐", "negative_prompt": "schlecht, übel"}


@pytest.mark.parametrize("exif", [b"no TIFF", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"])
def test_broken_exif_hides_no_text(exif: bytes) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"a fox\n{S}")
    info.add(b"eXIf", exif)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    assert read_metadata(out.getvalue()).values["prompt"] == "a fox"


@pytest.mark.parametrize("text", ["just some words", "a Negative prompt: x", "Steps: x"])
def test_words_are_no_settings(text: str) -> None:
    with pytest.raises(ArtflowError, match="holds no settings"):
        read(text)


HOSTILE = [
    "a:[" * 30_000, 'a:"' * 30_000, "a:{" * 30_000, ", " * 40_000, " ,\n" * 30_000, "a:" * 45_000, "\n" * 90_000,
    'a:["' * 22_000, "<lora:" * 15_000, "a, " * 30_000, "[" * 99_000,
]  # fmt: skip


@pytest.mark.timeout(5)
@pytest.mark.parametrize("filler", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_facts_and_prompts_are_read_at_once(filler: str) -> None:
    read(f"a cat\n{S}, x: {filler}!")
    assert a1111.read(f"a cat {filler * 15}\n{S}")
