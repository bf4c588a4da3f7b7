"""ComfyUI's graphs as people build them; what cannot be told from them is said, and nothing is filled in for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from artflow.metadata import read_metadata
from artflow.metadata.values import Metadata
from tests.metadata.files import png, with_exif

Graph = dict[str, dict[str, Any]]


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


BASE: Graph = {
    "3": node("KSampler", seed=42, steps=22, cfg=7.5, sampler_name="euler", denoise=1.0, model=["4", 0],
              positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "4": node("CheckpointLoaderSimple", ckpt_name="v1.5.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=768),
    "6": node("CLIPTextEncode", text="a red fox", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="ugly", clip=["4", 1]),
    "9": node("SaveImage", images=["8", 0]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
}  # fmt: skip
VALUES = {
    "prompt": "a red fox", "negative_prompt": "ugly", "seed": 42, "steps": 22, "guidance_scale": 7.5,
    "sampler": "Euler", "width": 512, "height": 768, "model": "v1.5",
}  # fmt: skip


def ran(**changes: dict[str, Any]) -> Metadata:
    graph = BASE | {name.removeprefix("n"): one for name, one in changes.items()}
    return read_metadata(png(prompt=json.dumps(graph)))


def text_by(value: Any, **more: dict[str, Any]) -> Metadata:
    return ran(n6=node("CLIPTextEncode", text=value, clip=["4", 1]), **more)


def test_a_plain_graph() -> None:
    found = ran()
    assert (dict(found.values), found.missing) == (VALUES, ())


@pytest.mark.parametrize("code", ["utf-8", "utf-16-be"])
def test_a_graph_in_user_comment(code: str) -> None:
    """Civitai's generator writes it without a name, other programs as an object of both graphs."""
    for written in (BASE | {"extra": {"airs": []}}, {"prompt": BASE, "workflow": {"nodes": []}}):
        data = with_exif("JPEG", comment=b"UNICODE\0" + json.dumps(written).encode(code))
        assert dict(read_metadata(data).values) == VALUES


@pytest.mark.parametrize("kind", ["ClownsharKSampler_Beta", "KSampler (Efficient)", "anybody's"])
def test_a_sampler_is_known_by_its_inputs(kind: str) -> None:
    assert dict(ran(n3=node(kind, **BASE["3"]["inputs"])).values) == VALUES


@pytest.mark.parametrize(
    ("more", "prompt"),
    [
        ({"a": node("StringConcatenate", string_a="a red", string_b=["b", 0], delimiter=", "),
          "b": node("PrimitiveStringMultiline", value="fox")}, "a red, fox"),
        ({"a": node("Text Concatenate", delimiter=", ", text_b="fox", text_a=["b", 0], text_c=""),
          "b": node("Text Multiline", text="a red")}, "a red, fox, "),
        ({"a": node("ComfySwitchNode", switch=True, on_true=["b", 0], on_false="no"),
          "b": node("PrimitiveString", value="yes")}, "yes"),
        ({"a": node("ComfySwitchNode", switch=["b", 0], on_true="yes", on_false="no"),
          "b": node("PrimitiveBoolean", value=False)}, "no"),
        ({"a": node("ImpactSwitch", select=2, input1="one", input2="two")}, "two"),
        ({"a": node("Any Switch (rgthree)", any_01=["gone", 0], any_02=["b", 0]),
          "b": node("PrimitiveString", value="here")}, "here"),
        ({"a": node("PreviewAny", source=["b", 0]), "b": node("PrimitiveString", value="shown on")}, "shown on"),
        ({"a": node("ShowText|pysssss", text=["b", 0], text_0="as it was shown"),
          "b": node("GeminiNode", prompt="make")}, "as it was shown"),
        ({"a": node("StringReplace", string="a blue fox", find="blue", replace="red")}, "a red fox"),
        ({"a": node("StringFormat", f_string="{a} {{x}}", **{"values.a": ["b", 0]}),
          "b": node("PrimitiveInt", value=3)}, "3 {x}"),
        ({"a": node("ImpactWildcardProcessor", wildcard_text="{a|b}", populated_text="b", seed=3)}, "b"),
    ],
)  # fmt: skip
def test_texts_that_nodes_build(more: Graph, prompt: str) -> None:
    found = text_by(["a", 0], **more)
    assert (found.values["prompt"], found.missing) == (prompt, ())


@pytest.mark.parametrize(
    "more",
    [
        {"a": node("GeminiNode", prompt="describe the picture")},
        {"a": node("TextGenerate", prompt="enhance this", clip=["4", 1])},
        {"a": node("Florence2Run", text_input="caption", image=["8", 0])},
        {"a": node("StringConcatenate", string_a="a red", string_b=["b", 0], delimiter=""),
         "b": node("TextGenerate", prompt="x", clip=["4", 1])},
        {"a": node("ComfySwitchNode", switch=["b", 0], on_true="yes", on_false="no"), "b": node("Compare", x=1)},
        {"a": node("RandomPrompt", text="one|two")},
        {"a": node("StringFormat", f_string="{a:>999999999}", **{"values.a": "x"})},
        {"a": node("Reroute", x=["a", 0])},
        {},
    ],
    ids=repr,
)  # fmt: skip
def test_a_text_that_cannot_be_told_is_missing(more: Graph) -> None:
    found = text_by(["a", 0], **more)
    assert "prompt" not in found.values and found.missing == ("prompt",)
    assert (found.values["seed"], found.values["negative_prompt"]) == (42, "ugly")


def test_what_the_graph_does_not_say_comes_from_the_text_beside_it() -> None:
    graph = BASE | {"6": node("CLIPTextEncode", text=["a", 0]), "a": node("GeminiNode", prompt="describe")}
    text = "a red fox\nNegative prompt: blurry\nSteps: 9, Seed: 7, Version: ComfyUI"
    found = read_metadata(png(prompt=json.dumps(graph), parameters=text))
    assert (dict(found.values), found.missing) == (VALUES, ())
    assert found.unknown == {"Version": "ComfyUI"}


def test_a_guider_of_three_conditionings() -> None:
    found = ran(
        n3=node("SamplerCustomAdvanced", guider=["g", 0], sampler=["s", 0], sigmas=["t", 0], noise=["r", 0],
                latent_image=["5", 0]),
        g=node("DualCFGGuider", model=["4", 0], cond1=["6", 0], cond2=["z", 0], negative=["7", 0], cfg_conds=7.5,
               cfg_cond2_negative=1.5),
        z=node("CLIPTextEncode", text="neither"), s=node("KSamplerSelect", sampler_name="euler"),
        t=node("SplitSigmas", sigmas=["u", 0], step=3), u=node("BasicScheduler", steps=22, denoise=1, model=["4", 0]),
        r=node("RandomNoise", noise_seed=42),
    )  # fmt: skip
    assert dict(found.values) == VALUES


def test_a_guider_that_gets_the_prompt_as_the_negative_one_too() -> None:
    """As in ComfyUI's template of HiDream E1.1."""
    guider = node("DualCFGGuider", cond1=["e", 0], cond2=["e", 1], negative=["6", 0], cfg_conds=5.0)
    edit = node("InstructPixToPixConditioning", positive=["6", 0], negative=["7", 0], pixels=["p", 0])
    sampler = node("SamplerCustomAdvanced", guider=["g", 0], sampler=["s", 0], latent_image=["e", 2])
    found = ran(n3=sampler, g=guider, e=edit)
    assert (found.values["prompt"], found.values["negative_prompt"]) == ("a red fox", "ugly")
    found = ran(n3=sampler, g=guider, e=node("Edit", conditioning=["6", 0]))
    assert "negative_prompt" not in found.values and found.missing == ("negative_prompt",)


def test_two_outputs_of_one_text_are_not_two_prompts() -> None:
    both = node("Encode for both", text="a red fox", clip=["4", 1])
    inputs = BASE["3"]["inputs"] | {"positive": ["6", 0], "negative": ["6", 1]}
    found = ran(n3=node("KSampler", **inputs), n6=both)
    assert found.values["prompt"] == "a red fox" and "negative_prompt" not in found.values
    assert found.missing == ("negative_prompt",)
    two = node("TextEncodeQwenImage21", prompt="a red fox", negative_prompt="ugly", clip=["4", 1])
    assert dict(ran(n3=node("KSampler", **inputs), n6=two).values) == VALUES
    loader = node("Efficient Loader", positive="a red fox", negative="ugly", ckpt_name="v1.5.safetensors")
    inputs |= {"positive": ["6", 1], "negative": ["6", 2], "model": ["6", 0]}
    assert dict(ran(n3=node("KSampler", **inputs), n6=loader).values) == VALUES


def test_one_conditioning_for_both() -> None:
    inputs = BASE["3"]["inputs"] | {"negative": ["6", 0]}
    assert ran(n3=node("KSampler", **inputs)).values["negative_prompt"] == "a red fox"


def test_conditionings_that_are_put_together() -> None:
    inputs = BASE["3"]["inputs"] | {"positive": ["c", 0]}
    both = node("ConditioningConcat", conditioning_to=["6", 0], conditioning_from=["d", 0])
    found = ran(n3=node("KSampler", **inputs), c=both, d=node("CLIPTextEncode", text="in snow"))
    assert found.values["prompt"] == "a red fox\nin snow"


def test_a_preprocessor_with_a_sampler_did_not_draw_the_picture() -> None:
    depth = node("KSampler", seed=1, steps=2, cfg=1.0, positive=["l", 0], negative=["l", 0], latent_image=["v", 0],
                 model=["o", 0])  # fmt: skip
    inputs = BASE["3"]["inputs"] | {"positive": ["c", 0], "negative": ["c", 1]}
    control = node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], image=["i", 0])
    found = ran(
        n1=depth, l=node("LotusConditioning"), v=node("VAEEncode", pixels=["p", 0]), p=node("LoadImage", image="x.png"),
        o=node("UNETLoader", unet_name="lotus.safetensors"), i=node("VAEDecode", samples=["1", 0]), c=control,
        n3=node("KSampler", **inputs),
    )  # fmt: skip
    assert dict(found.values) == VALUES
    redrawn = ran(  # its picture as the start, too
        n1=depth, l=node("LotusConditioning"), v=node("VAEEncode", pixels=["p", 0]), p=node("LoadImage", image="x.png"),
        o=node("UNETLoader", unet_name="lotus.safetensors"), i=node("VAEDecode", samples=["1", 0]), c=control,
        n3=node("KSampler", **inputs | {"latent_image": ["j", 0]}), j=node("VAEEncode", pixels=["i", 0]),
    ).values  # fmt: skip
    assert (redrawn["seed"], redrawn["prompt"], redrawn["model"]) == (42, "a red fox", "v1.5")


def test_of_unrelated_samplers_the_one_counts_whose_picture_is_saved() -> None:
    other = node("KSampler", **BASE["3"]["inputs"] | {"seed": 1, "positive": ["x", 0]})
    extra = {"n1": other, "x": node("CLIPTextEncode", text="a dog"), "y": node("VAEDecode", samples=["1", 0])}
    assert dict(ran(**extra, z=node("PreviewImage", images=["y", 0])).values) == VALUES
    both = ran(**extra, z=node("SaveImage", images=["y", 0]))
    assert dict(both.values) == {name: VALUES[name] for name in VALUES if name not in ("prompt", "seed")}
    assert both.missing == ("prompt", "seed")


def test_a_model_is_named_without_its_ending_and_its_loras_are() -> None:
    inputs = BASE["3"]["inputs"] | {"model": ["l", 0]}
    found = ran(
        n3=node("KSampler", **inputs), l=node("LoraLoader", lora_name="a/style.safetensors", strength_model=0.7,
                                              model=["m", 0]),
        m=node("Power Lora Loader (rgthree)", lora_1={"on": True, "lora": "b.safetensors", "strength": 0.5},
               lora_2={"on": False, "lora": "c.safetensors", "strength": 0.5}, model=["4", 0]),
    )  # fmt: skip
    assert found.values["model"] == "v1.5"
    assert found.values["loras"] == [{"name": "style", "weight": 0.7}, {"name": "b", "weight": 0.5}]
