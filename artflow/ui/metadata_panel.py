"""The panel that reads a picture's generation parameters and fills them into the tab of its mode."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gradio as gr
from gradio.components import Component
from pydantic import BaseModel

from artflow import metadata
from artflow.engine.params import MAX_SEED
from artflow.errors import ArtflowError
from artflow.metadata import fitting
from artflow.metadata.loras import written
from artflow.models import lora_files
from artflow.modes.remove import MODEL
from artflow.modes.upscale import check_upscaler
from artflow.pipeline import Pipeline
from artflow.prompts.loras import MOST
from artflow.ui.controls import said
from artflow.ui.files import picture_input, read_bytes

# Entries of a recipe that are facts and not settings.
TITLES = {"prompt": "the prompt", "negative_prompt": "the negative prompt", "seed": "the seed"}
FACTS = {"timesteps", "stage", "crossfade", "prompt_used", "unknown_words", "hidden", "width", "height", "drawn_at"}
MOST_NAMED = 20


class TargetTab(NamedTuple):
    """A tab whose controls can be filled with the parameters of a picture."""

    tab: str
    defaults: BaseModel  # all its parameters, also those without a control
    controls: Mapping[str, Component]  # by parameter name
    follows: frozenset[str] = frozenset()  # parameters that follow from the input picture


def metadata_panel(
    pipeline: Pipeline, tabs: gr.Tabs, targets: Mapping[str, TargetTab], inner: Mapping[str, tuple[str, gr.Tabs]]
) -> tuple[Callable[..., Any], gr.JSON]:
    """Build the panel. The parameters of a picture are shown, and filled into the tab of its mode, which opens.

    Args:
        pipeline: whose models and limits count
        tabs: of the page
        targets: the tabs to fill, by the mode of their pictures; the first takes those of any other mode
        inner: the targets that are a tab within a tab: which, and the tabs in there

    Returns:
        The event that a picture has been read, and the component with its metadata, for tabs that need more of it.
    """
    with gr.Accordion("Read a picture's settings", open=False, elem_id="artflow-metadata"):
        with gr.Row():
            limits = pipeline.settings.server
            picture = picture_input(limits, "A picture made by ArtFlow or another program", height=180)
            said_by_it = gr.JSON(label="Metadata")
        words = gr.Markdown(elem_id="artflow-metadata-words")
    rooms = list(dict.fromkeys(within for _, within in inner.values()))

    def fill(about: dict[str, Any]) -> list[Any]:
        chosen = targets.get(about["mode"]) or next(iter(targets.values()))
        values, sentence = values_for_tab(pipeline, chosen, about)
        updates = [
            values.get(name, gr.skip()) if target is chosen else gr.skip()
            for target in targets.values()
            for name in target.controls
        ]
        outer, room = inner.get(chosen.tab, (chosen.tab, None))
        within = [gr.Tabs(selected=chosen.tab) if other is room else gr.skip() for other in rooms]
        return [*updates, gr.Tabs(selected=outer), *within, f"From {about['source']}. {sentence}"]

    read = picture.upload(read_back, picture, said_by_it, api_name="read_back", concurrency_limit=4)
    read.success(
        fill, said_by_it, [*(c for target in targets.values() for c in target.controls.values()), tabs, *rooms, words],
        queue=False, show_progress="hidden", api_visibility="private",
    )  # fmt: skip
    return read.success, said_by_it


@said
def read_back(picture: str | None) -> dict[str, Any]:
    """Read the settings that a picture was made with, from its metadata.

    Generators: ArtFlow, A1111, ComfyUI, InvokeAI, Fooocus, SwarmUI, NovelAI, SD.Next and Draw Things.
    Whole numbers over 2^53 come as text, because browsers round them. ``missing`` names settings that the picture was
    made with and that its file does not tell.

    Args:
        picture: a picture file of one of these; over MCP its URL, such as that of a result
    """
    found = metadata.read_metadata(read_bytes(picture))
    about = {"source": found.source, "mode": found.mode, "values": found.values, "unknown": found.unknown}
    told: dict[str, Any] = metadata.shown(about | {"missing": found.missing})
    return told


def _takes(control: Component | None, name: str, value: Any) -> bool:
    """Whether a control accepts a value; after a value out of range Gradio would refuse every later request."""
    if name in ("upscaler", "hires_upscaler"):
        try:
            check_upscaler(value)
        except ArtflowError:
            return False
    low, high = getattr(control, "minimum", None), getattr(control, "maximum", None)
    return not isinstance(value, (int, float)) or ((low is None or value >= low) and (high is None or value <= high))


def values_for_tab(pipeline: Pipeline, target: TargetTab, about: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The values for a tab's controls, and sentences on those that cannot be filled in."""
    values, refused = fitting(about["values"], type(target.defaults))
    values.pop("loras", None)
    emptied = _emptied(target, about)
    values |= emptied
    for name in [name for name, value in values.items() if not _takes(target.controls.get(name), name, value)]:
        refused.append(name)
        del values[name]
    if "hires_scale" in target.controls:  # recipes of one pass do not have it
        values.setdefault("hires_scale", 1)
    if target.tab == "upscale":  # nor those of pictures that were enlarged only
        values.setdefault("strength", 0)
    model = values.pop("model", "")
    if model and "model" in target.controls:
        known = {spec.id: "" if spec is pipeline.spec else spec.id for spec in pipeline.choices}
        if model == MODEL:  # it stood in for the small model, as it will again
            model = next((spec.id for spec in pipeline.choices if spec.native_resolution_only), model)
        if model in known:
            values["model"] = known[model]
        else:
            refused.append(f"model {_as_code(model)}")
    refused = [name for name in refused if name != "loras"]  # those are spoken of by themselves
    refused += about["unknown"].keys() & type(target.defaults).model_fields.keys()
    names = [name for name in dict.fromkeys(refused) if name.split()[0] in target.controls]
    sentences = []
    if "seed" in names and (words := _seed_words(about)):
        sentences.append(words)
        names.remove("seed")
        values["seed"] = -1
    if names:
        sentences.append(f"Not taken over, because this app has no such value: {', '.join(names)}.")
    if said := [TITLES[name] for name in emptied if name in about.get("missing", ()) and name in target.controls]:
        sentences.append(f"The file does not tell, and so it is not filled in: {', '.join(said)}.")
    sentences += _take_loras(pipeline, target, values, about["values"].get("loras"))
    if lost := _lost(pipeline, target, about["values"]):
        sentences.append(f"Not taken over, because this tab has no control for it: {', '.join(lost)}.")
    if about["values"].get("filters") and "filters" not in target.controls:
        sentences.append("The filters that the picture went through are not taken over.")
    return values, " ".join(sentences)


def _emptied(target: TargetTab, about: dict[str, Any]) -> dict[str, Any]:
    """New values of controls whose old ones would stand beside the picture's as if they were its own."""
    missing = [name for name in about.get("missing", ()) if name in TITLES]
    if about["source"] != "ArtFlow":  # our own recipes have all that their mode uses
        missing += [name for name in ("prompt", "negative_prompt") if name not in about["values"]]
    fresh = {name: -1 if name == "seed" else "" for name in missing}
    return {name: value for name, value in fresh.items() if name in type(target.defaults).model_fields}


def _seed_words(about: dict[str, Any]) -> str:
    """A sentence on a whole number that is no seed here; empty where the seed is none."""
    seed = str(about["values"].get("seed", about["unknown"].get("seed", "")))
    if not re.fullmatch(r"-?\d+", seed):
        return ""
    shown = seed if len(seed) <= 40 else f"{seed[:40]}..."
    return f"The seed {shown} cannot be used, because this app's go from 0 to {MAX_SEED}; a random one is set."


def _take_loras(pipeline: Pipeline, target: TargetTab, values: dict[str, Any], listed: Any) -> list[str]:
    """Write the LoRAs that are here into the prompt, and empty the tab's drawer; a sentence on those that are not."""
    if "prompt" not in target.controls or "loras" not in type(target.defaults).model_fields:
        listed_here: list[dict[str, Any]] = []
    else:
        there = lora_files.names(pipeline.settings.models.lora_dir)
        whole = [one for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict)]
        listed_here = [one for one in whole if one.get("name") in there][:MOST]
        if "loras" in target.controls and "prompt" in values:
            values["loras"] = "{}"
    if tags := written(listed_here):
        values["prompt"] = " ".join(part for part in (values.get("prompt", ""), tags) if part)
    if others := _loras([one for one in (listed if isinstance(listed, list) else []) if one not in listed_here]):
        return [f"LoRAs that are not here are not taken over: {others}."]
    return []


def _loras(listed: Any) -> str:
    """The names and weights of LoRAs; untrusted text, shown as Markdown: in code spans."""
    told = []
    for one in (listed if isinstance(listed, list) else [])[:MOST_NAMED]:
        if isinstance(one, dict) and (name := _as_code(one.get("name", ""))):
            weight = one.get("weight")
            told.append(f"{name} ({weight:g})" if isinstance(weight, int | float) else name)
    return ", ".join(told)


def _as_code(text: Any) -> str:
    """Untrusted text as a code span of Markdown, which cannot hold a link or an image."""
    plain = " ".join(str(text).replace("`", "").split())[:80]
    return f"`{plain}`" if plain else ""


def _lost(pipeline: Pipeline, target: TargetTab, values: Mapping[str, Any]) -> list[str]:
    """The names of values that the tab has no control for and that differ from its defaults."""
    anyway = target.defaults.model_dump(mode="json", exclude=set(target.follows)) | {"model": pipeline.spec.id}
    named = values.keys() - target.controls.keys() - {"filters", "loras"}
    lost = [name for name in named if (values[name] != anyway[name] if name in anyway else name not in FACTS)]
    # Names are untrusted, too, and shown as Markdown.
    return sorted(name for name in lost if name.isidentifier() and len(name) <= 40)[:MOST_NAMED]
