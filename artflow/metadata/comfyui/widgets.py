"""The names of the values that ComfyUI's editor stores as a list, in the order of each node's class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

CONTROL = ("fixed", "increment", "decrement", "randomize")  # an editor's value behind each seed
SEEDS = ("seed", "noise_seed")
SIZE = ("width", "height")
SOUND = re.compile(r"Audio|Music|Song|Speech")
TEXTUAL = re.compile(r"Text|String|Prompt|\b(?:text|string|prompt)\b")
KSAMPLER = ("seed", "control", "steps", "cfg", "sampler_name", "scheduler", "denoise")
WIDGETS: dict[str, tuple[str, ...]] = {
    "KSampler": KSAMPLER,
    "KSampler (Efficient)": KSAMPLER,
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", "control", "steps", "cfg", "sampler_name", "scheduler", "start_at_step",
        "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "control", "cfg"),
    "ClownsharKSampler_Beta": (
        "eta", "sampler_name", "scheduler", "steps", "steps_to_run", "denoise", "cfg", "seed", "control",
        "sampler_mode", "bongmath",
    ),
    "CLIPTextEncode": ("text",),
    "TextEncodeQwenImageEdit": ("prompt",),
    "TextEncodeQwenImageEditPlus": ("prompt",),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSDXL": (
        "width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l",
    ),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "ImageOnlyCheckpointLoader": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "KSamplerSelect": ("sampler_name",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "LTXVScheduler": ("steps",),
    "AlignYourStepsScheduler": ("model_type", "steps", "denoise"),
    "RandomNoise": ("noise_seed",),
    "CFGGuider": ("cfg",),
    "DualCFGGuider": ("cfg_conds", "cfg_cond2_negative"),
    "PrimitiveNode": ("value",),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value", "control"),
    "PrimitiveFloat": ("value",),
    "PrimitiveBoolean": ("value",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
    "StringReplace": ("string", "find", "replace"),
    "StringFormat": ("f_string",),
    "StringTrim": ("string", "mode"),
    "CaseConverter": ("string", "mode"),
    "ComfySwitchNode": ("switch",),
    "Text Multiline": ("text",),
    "Text Concatenate": ("delimiter", "clean_whitespace"),
    "JoinStrings": ("string1", "string2", "delimiter"),
    "ImageScale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    **dict.fromkeys(
        (
            "EmptyLatentImage", "EmptySD3LatentImage", "EmptyFlux2LatentImage", "EmptyHiDreamO1LatentImage",
            "EmptyChromaRadianceLatentImage", "EmptyHunyuanLatentVideo", "EmptyLTXVLatentVideo",
            "EmptyQwenImageLayeredLatentImage", "EmptyHunyuanVideo15Latent", "EmptyMochiLatentVideo",
            "EmptyCosmosLatentVideo", "WanImageToVideo", "WanFirstLastFrameToVideo", "Wan22ImageToVideoLatent",
        ),
        SIZE,
    ),
}  # fmt: skip


def named_values(kind: str, values: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> dict[str, Any]:
    """The stored values of a node by name; of an unknown class only where its inputs or outputs tell what they are."""
    if isinstance(values, dict):
        return dict(values)
    if not isinstance(values, list) or not values:
        return {}
    if kind in WIDGETS:
        return dict(zip(WIDGETS[kind], values))
    plain = [value for at, value in enumerate(values) if not (at and isinstance(value, str) and value in CONTROL)]
    names = [slot["widget"].get("name") for slot in inputs if _has_widget(slot)]
    if len(names) == len(plain):
        return {name: value for name, value in zip(names, plain) if isinstance(name, str)}
    if not isinstance(values[0], str):
        return {}
    if "TextEncode" in kind and not SOUND.search(kind):  # ComfyUI's own: the prompt, and the negative one if it has two
        both = len(values) > 1 and isinstance(values[1], str) and any(one.get("name") == "negative" for one in outputs)
        return {"prompt": values[0]} | ({"negative_prompt": values[1]} if both else {})
    # Text nodes of others: the one value that they have is their text.
    textual = TEXTUAL.search(kind) and len(values) == 1 and any(one.get("type") == "STRING" for one in outputs)
    return {"text": values[0]} if textual else {}


def _has_widget(slot: Any) -> bool:
    return isinstance(slot, Mapping) and isinstance(slot.get("widget"), Mapping)
