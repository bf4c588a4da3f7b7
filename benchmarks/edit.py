"""Each tab's time, split into the model's and everything else: reading files, masks, blending, queues, PNG.

``python -m benchmarks.edit [--sd-turbo]``. The page's own endpoints are called with their defaults, from the uploaded
file to the files that the browser is given, on the model that the app starts with. The smaller the model, the more all
else counts: the embedded one is the hardest case. ``--sd-turbo`` takes random weights of that size, and one step; and
such of CLIP ViT-L/14 for interrogation.
Where a tab asks no diffusion model, its own work stands in that column: the network that enlarges, the towers that
look, the filters.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import signature
from pathlib import Path
from statistics import median
from typing import Any

import gradio as gr
import numpy as np
from gradio.processing_utils import move_files_to_cache
from gradio.utils import is_prop_update
from PIL import Image

from artflow.engine.runner import Runner
from artflow.interrogator import CLIP, EMBEDDED
from artflow.metadata import encode_png
from artflow.models import clip, loader
from artflow.models.classifier import Classifier
from artflow.models.clip import Towers
from artflow.models.upscaler import Network
from artflow.modes.filters.stack import as_json, load_presets
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui import filters_tab
from artflow.ui.app import build
from benchmarks.common import machine, scenes
from benchmarks.full_size import build_full_size, build_full_size_clip

ROUNDS = 7
MODEL: list[tuple[Any, str]] = [
    (Runner, "encode"), (Runner, "predict"), (Runner, "decode"), (Network, "__call__"), (Towers, "encode_image"),
    (Towers, "encode_text"), (Classifier, "look"), (filters_tab, "apply"),
]  # fmt: skip


class Clock:
    """Seconds spent in functions, from whatever thread; those called by one another count once a thread."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def watching(self, functions: list[tuple[Any, str]]) -> Iterator[None]:
        """Count the time in these functions (of a class or module) while the context lasts."""
        kept = [(owner, name, getattr(owner, name)) for owner, name in functions]
        for owner, name, function in kept:
            setattr(owner, name, self._counted(function))
        try:
            yield
        finally:
            for owner, name, function in kept:
                setattr(owner, name, function)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begin

        return counted


def actions(demo: gr.Blocks, folder: Path, towers: str, always: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """What each tab's button does with a picture of 512 x 512, at the tab's own defaults."""
    photo = scenes(1, 512)[0]
    Image.fromarray(photo).save(path := str(folder / "photo.png"))
    mask = np.zeros((512, 512, 3), np.uint8)
    mask[150:350, 150:350] = 255
    (mask_path := folder / "mask.png").write_bytes(encode_png(mask, {}))
    endpoints = {function.api_name: function for function in demo.fns.values()}

    def act(name: str, **changes: Any) -> Callable[[], None]:
        endpoint = endpoints[name]
        names = list(signature(endpoint.fn).parameters)
        values: dict[str, Any] = {n: control.value for n, control in zip(names, endpoint.inputs, strict=False)}
        values |= {"prompt": "a red apple on a white background", "seed": 1} | always | changes
        asked = {name: values.get(name) for name in names}

        def run() -> None:
            for outputs in endpoint.fn(**asked):
                for component, value in zip(endpoint.outputs, outputs, strict=True):
                    if not is_prop_update(value):  # as Gradio does it before the browser hears of it
                        move_files_to_cache(component.postprocess(value), component, postprocess=True)

        return run

    golden = as_json(load_presets()["golden"].stack)
    return {
        "text": act("text"),
        "text, Hires fix 2x": act("text", hires_scale=2),
        "inpaint": act("inpaint", picture=path, mask=str(mask_path)),
        "outpaint, 128 px at the right": act("outpaint", source=path, right=128, ratio=0, anchor="centre"),
        "upscale 2x": act("upscale", picture=path),
        "upscale 2x, redrawn": act("upscale", picture=path, strength=0.3),
        "interrogate, fast": act("interrogate", picture=path, mode="fast", model=towers),
        "filters, golden hour": act("filter", picture=path, stack=golden),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sd-turbo", action="store_true")
    large = parser.parse_args().sd_turbo
    rounds, towers = (1, CLIP) if large else (ROUNDS, EMBEDDED)
    if large:
        loader.load_model = lambda spec, dtype, device, **_: build_full_size(dtype=dtype, device=device)
        clip.load_towers = lambda *_, **__: build_full_size_clip()
    with tempfile.TemporaryDirectory() as folder:
        environment = {"ARTFLOW_INTERROGATE__CACHE": folder}  # terms are read in the round that warms up
        if large:
            environment["ARTFLOW_MODEL__MODEL_ID"] = "stabilityai/sd-turbo"
        pipeline = Pipeline(load_settings(environ=environment))
        print(f"{pipeline.spec.title}, {machine()}\n")
        print("| tab | ms in all | model | everything else | share |\n|---|---|---|---|---|")
        always = {"steps": 1} if large else {}
        for name, act in actions(build(pipeline), Path(folder), towers, always).items():
            seconds = []
            for _ in range(rounds + 1):
                clock = Clock()
                begin = time.perf_counter()
                with clock.watching(MODEL):
                    act()
                seconds.append((time.perf_counter() - begin, clock.seconds))
            total, model = (1000 * median(values) for values in zip(*seconds[1:], strict=True))  # the first warms up
            print(f"| {name} | {total:.0f} | {model:.0f} | {total - model:.0f} | {1 - model / total:.0%} |", flush=True)
        pipeline.close()


if __name__ == "__main__":
    main()
