"""What steers a picture by its own lines: two controls with a preview of their maps, and sketch to picture."""

from __future__ import annotations

import json
from typing import Any, get_args

import gradio as gr
from gradio.components import Component

from artflow.engine.control_unit import ControlUnit
from artflow.images import Picture
from artflow.models.control_catalog import MapName, load_controls
from artflow.modes.control_maps import control_map
from artflow.modes.schema import merged
from artflow.pipeline import Pipeline
from artflow.ui.controls import ParamControls, described, said
from artflow.ui.files import picture_input, read_picture
from artflow.ui.send import read_frame

UNITS = 2  # the API takes more
LONGEST = 768  # pixels a side of the picture that a preview is made of

NAMES = ("kind", "weight", "start", "end", "mode", "preprocess")
UNITS_OF = f"""(...values) => {{
  const names = {json.dumps(NAMES)};
  const units = [];
  for (let i = 0; i < values.length; i += names.length)
    if (values[i]) units.push(Object.fromEntries(names.map((name, j) => [name, values[i + j]])));
  return units;
}}"""
"""JavaScript: the units that are on, as the parameter ``control`` holds them, of the values of all their controls."""

ENDINGS = {
    "As the prompt says": "",
    "Photo": "photo, natural light",
    "Oil painting": "oil painting",
    "Watercolour": "watercolor",
    "Cartoon": "cartoon",
    "Comic": "comic, ink lines",
    "3D": "3d render, soft light",
}
"""What sketch to picture adds to a prompt."""

DETAILS = {
    "Loose": {"weight": 0.6, "steps": 1},
    "Balanced": {"weight": 0.9, "steps": 2},
    "Close": {"weight": 1.2, "steps": 4},
}
"""How closely a sketch is followed, and how finely it is worked out."""


class ControlDrawer:
    """The accordion. ``units`` are its controls, unit after unit, in the order of `NAMES`."""

    def __init__(self, place: str) -> None:
        self.units: list[Component] = []
        self._at = f"artflow-{place}-control"
        self._catalog = load_controls()

    def live(self, mode: str, pipeline: Pipeline) -> None:
        """In a live tab: what is set goes to the view, and the preview is of the picture that it works on."""
        limits = pipeline.settings.server
        told = f"(...values) => {{ window.artflow.set({json.dumps(mode)}, {{ control: ({UNITS_OF})(...values) }}); }}"
        with gr.Accordion("Control", open=False, elem_id=self._at):
            if mode == "canvas":
                self._sketch = self._build_sketch()
            self._build()
            frame = gr.JSON(visible=False)

            def of_frame(frame: dict[str, Any] | None, *values: Any) -> list[Picture | None]:
                return self._maps(read_frame(frame, limits)[0], values) if frame else [None] * UNITS

            source = f"window.artflow.source({json.dumps(mode)})"
            self._preview.click(
                said(of_frame), [frame, *self.units], self._shown, js=f"(_, ...rest) => [{source}, ...rest]",
                concurrency_limit=2, show_progress="hidden", api_visibility="private",
            )  # fmt: skip
        for control in self.units:
            control.change(None, self.units, None, js=told, api_visibility="private")  # type: ignore[attr-defined]

    def sketch(self, controls: ParamControls, prompt: gr.Textbox) -> None:
        """Let the sketch controls of a canvas set its parameters, which the person sees and can go on changing."""
        on, ending, detail = self._sketch
        kind, weight = self.units[:2]
        strength, steps = controls.built["strength"], controls.built["steps"]
        js = f"""(on, ending, detail, prompt, kind, weight, strength, steps) => {{
          const endings = {json.dumps(list(ENDINGS.values()))};
          const details = {json.dumps(DETAILS)};
          if (!on && !SWITCHED) return [kind, weight, strength, steps, prompt];
          const old = endings.find((one) => one && prompt.endsWith(`, ${{one}}`));
          if (old) prompt = prompt.slice(0, -old.length - 2);
          if (!on) return ["", weight, {strength.value}, {steps.value}, prompt];
          if (ending) prompt = `${{prompt}}, ${{ending}}`;
          return ["scribble", details[detail].weight, 1, details[detail].steps, prompt];
        }}"""
        outputs = [kind, weight, strength, steps, prompt]
        for control in (on, ending, detail):
            control.input(
                None, [on, ending, detail, prompt, kind, weight, strength, steps], outputs,
                js=js.replace("SWITCHED", "true" if control is on else "false"), api_visibility="private",
            )  # fmt: skip

    def of_a_picture(self, pipeline: Pipeline) -> tuple[Component, Component]:
        """In a tab of jobs: the controls, as the parameter holds them, and the picture that their maps are made of."""
        limits = pipeline.settings.server
        with gr.Accordion("Control", open=False, elem_id=self._at):
            picture = picture_input(limits, "Picture that steers", height=240, elem_id=f"{self._at}-picture")
            self._build()

            def of_file(path: str | None, *values: Any) -> list[Picture | None]:
                return self._maps(read_picture(path, limits, LONGEST), values)

            self._preview.click(
                said(of_file), [picture, *self.units], self._shown, concurrency_limit=2, show_progress="hidden",
                api_visibility="private",
            )  # fmt: skip
        about = {"type": "object", "properties": ControlUnit.model_json_schema()["properties"]}
        units = described(gr.JSON([], visible="hidden", label="Control"), {"type": "array", "items": about})
        for control in self.units:
            control.change(  # type: ignore[attr-defined]
                None, self.units, units, js=f"(...values) => [({UNITS_OF})(...values)]", api_visibility="private"
            )
        return units, picture

    # -- inside -----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        kinds = [("Off", ""), *((kind.name, kind.kind) for kind in self._catalog.kinds)]
        for number in range(UNITS):
            unit = ParamControls(ControlUnit(kind=""))
            with gr.Row():
                title, at = f"Control {number + 1}", f"{self._at}-kind-{number + 1}"
                unit.built["kind"] = gr.Dropdown(kinds, value="", label=title, min_width=140, elem_id=at)
                unit.add("weight", step=0.05, min_width=140)
                unit.add("start", step=0.05, min_width=120)
                unit.add("end", step=0.05, min_width=120)
                unit.add("mode", min_width=140)
                maps, about = ["auto", *get_args(MapName)], "none: the picture is the map"
                unit.built["preprocess"] = gr.Dropdown(maps, value="auto", label="Map", info=about, min_width=140)
            self.units += [unit.built[name] for name in NAMES]
        self._preview = gr.Button("Show the maps", size="sm", elem_id=f"{self._at}-preview")
        picture: dict[str, Any] = {"format": "png", "interactive": False, "height": 220}
        with gr.Row():
            self._shown = [
                gr.Image(label=f"Map {number}", elem_id=f"{self._at}-map-{number}", **picture)
                for number in range(1, UNITS + 1)
            ]

    def _build_sketch(self) -> tuple[gr.Checkbox, gr.Dropdown, gr.Radio]:
        with gr.Row():
            on = gr.Checkbox(
                False, label="Sketch to picture", info="your strokes say where lines go, the prompt what they are",
                elem_id=f"{self._at}-sketch",
            )  # fmt: skip
            ending = gr.Dropdown(list(ENDINGS.items()), value="", label="Style", elem_id=f"{self._at}-ending")
            detail = gr.Radio(list(DETAILS), value="Balanced", label="Detail level", elem_id=f"{self._at}-detail")
        return on, ending, detail

    def _maps(self, picture: Picture, values: tuple[Any, ...]) -> list[Picture | None]:
        """The map of each control; None where it is off."""
        size = len(NAMES)
        asked = [dict(zip(NAMES, values[i : i + size], strict=True)) for i in range(0, len(values), size)]
        return [control_map(picture, merged(ControlUnit, unit)) if unit["kind"] else None for unit in asked]
