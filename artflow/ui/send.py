""" "Send to" buttons: send a result with its recipe to another tab."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from artflow.errors import ArtflowError
from artflow.images import Picture, decode
from artflow.metadata import carried_recipe
from artflow.metadata.loras import written
from artflow.settings import ServerSettings
from artflow.ui.controls import said
from artflow.ui.files import PictureUpload, saved_png

TAKERS = {  # the tabs that accept a picture, in the page's order
    "canvas": "Canvas",
    "inpaint": "Inpaint",
    "live-inpaint": "Live inpaint",
    "outpaint": "Outpaint",
    "upscale": "Upscale",
    "filters": "Filters",
    "interrogate": "Interrogate",
}
IN_BROWSER = {"canvas": "canvas", "live-inpaint": "inpaint"}  # tabs that are filled in the browser, and their live mode
MOST_RECIPE = 100_000  # characters of a recipe as JSON, which comes back from the browser

Found = str | tuple[Picture, dict[str, Any]] | None  # a file of ours, or a picture and its recipe
Find = Callable[..., Found]


class SendTo:
    """The buttons under a tab's result, one for each other tab; `connect` attaches their events."""

    def __init__(
        self, own: str, inputs: Component | Sequence[Component], find: Find = lambda path: path, js: str | None = None
    ) -> None:
        """``find`` gets the picture from the values of ``inputs``; ``js`` reads these in the browser."""
        self.inputs, self.find, self.js = inputs, find, js
        self.buttons: dict[str, gr.Button] = {}
        with gr.Row(elem_classes="artflow-send"):
            for tab, title in TAKERS.items():
                if tab != own:
                    about: dict[str, Any] = {"size": "sm", "min_width": 80, "elem_id": f"artflow-{own}-to-{tab}"}
                    self.buttons[tab] = gr.Button(f"→ {title}", **about)


def from_live(mode: str, limits: ServerSettings, own: str = "") -> SendTo:
    """Buttons under a live view, which send the frame on display; ``own`` is its tab, if not its mode."""

    def find(snapshot: dict[str, Any] | None) -> Found:
        return read_frame(snapshot, limits) if snapshot else None

    shown = gr.JSON(visible=False)
    return SendTo(own or mode, shown, find, f"async () => [await window.artflow.snapshot({json.dumps(mode)})]")


def from_gallery(own: str, gallery: gr.Gallery) -> SendTo:
    """Buttons under a gallery, which send the selected picture, or else the last one."""
    chosen = gr.State(None)
    private: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gallery.select(_index, None, chosen, **private)
    gallery.change(lambda: None, None, chosen, **private)

    def find(pictures: list[tuple[str, str | None]] | None, index: int | None) -> Found:
        return pictures[-1 if index is None else index][0] if pictures else None

    return SendTo(own, [gallery, chosen], find)


def _index(event: gr.SelectData) -> int:
    return event.index


def connect(
    senders: Sequence[SendTo],
    takers: Mapping[str, Component],
    prompts: Mapping[str, Component],
    tabs: gr.Tabs,
    inner: Mapping[str, tuple[str, gr.Tabs]],
) -> None:
    """Attach the buttons' events: fill the other tab's picture, and open that tab.

    Args:
        senders: the tabs' buttons
        takers: the component that receives the picture, by tab; some have none (`IN_BROWSER`)
        prompts: the prompts of the tabs that also receive the picture's prompt
        tabs: of the page
        inner: the takers that are a tab within a tab: which, and the tabs in there
    """
    carrier = PictureUpload(visible="hidden")
    for sender in senders:
        for tab, button in sender.buttons.items():
            place = takers.get(tab, carrier)
            outer, *within = inner.get(tab, (tab,))
            prompt = [prompts[tab]] if tab in prompts else []
            work = _sending((outer, tab)[: 1 + len(within)], sender.find, with_prompt=bool(prompt))
            sent = button.click(
                work, sender.inputs, [place, *prompt, tabs, *within], js=sender.js, show_progress="hidden",
                api_visibility="private",
            )  # fmt: skip
            if place is carrier:
                js = f"(file) => {{ window.artflow.loadPicture({json.dumps(IN_BROWSER[tab])}, file.url); }}"
                sent.success(None, carrier, None, js=js, api_visibility="private")


def _sending(to_open: Sequence[str], find: Find, with_prompt: bool) -> Callable[..., Iterator[tuple[Any, ...]]]:
    @said
    def found(*values: Any) -> str | tuple[Picture, dict[str, Any]]:
        picture = find(*values)
        if picture is None:
            raise ArtflowError("no_picture", "There is no picture to send yet.")
        return picture

    def send(*values: Any) -> Iterator[tuple[Any, ...]]:
        picture, opened = found(*values), [gr.Tabs(selected=tab) for tab in to_open]
        if isinstance(picture, str):
            if not Path(picture).is_file():
                raise gr.Error("This picture is too old, its file is gone: make it again.", print_exception=False)
            recipe = carried_recipe(Path(picture).read_bytes()) if with_prompt else {}
            yield picture, *_prompt(recipe, with_prompt), *opened
            return
        frame, recipe = picture
        with saved_png(frame, recipe, "artflow-frame.png") as path:
            yield path, *_prompt(recipe, with_prompt), *opened

    return send


def _prompt(recipe: Mapping[str, Any], wanted: bool) -> list[Any]:
    """The value of the prompt with its LoRAs, if ``wanted``; unchanged for a picture without one."""
    parts = (str(recipe.get("prompt") or ""), written(recipe.get("loras")))
    return [" ".join(part for part in parts if part) or gr.skip()] if wanted else []


def read_frame(snapshot: dict[str, Any], limits: ServerSettings) -> tuple[Picture, dict[str, Any]]:
    """The live frame that the browser sends back, and its recipe.

    Raises:
        ArtflowError: ``bad_picture``, ``picture_too_large``.
    """
    try:
        data = base64.b64decode(str(snapshot["image"]).partition(",")[2], validate=True)
    except (KeyError, binascii.Error):
        raise ArtflowError("bad_picture", "The frame that is shown could not be read.") from None
    picture = decode(data, max_pixels=limits.max_pixels)
    recipe = snapshot.get("recipe")
    if not isinstance(recipe, dict) or len(json.dumps(recipe)) > MOST_RECIPE:
        recipe = {}
    return picture, recipe
