"""Each tab's time, split into the model's and everything else: reading files, masks, blending, queues, PNG.

``python -m benchmarks.edit [--sd-turbo]``. The tabs' own functions are called, as their buttons do it, from the
uploaded file to the file that is shown, on the model that the app starts with. The smaller the model, the more all
else counts: the embedded one is the hardest case. ``--sd-turbo`` takes random weights of that size, and one step.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from artflow.engine.runner import Runner
from artflow.images import encode_png
from artflow.models import loader
from artflow.models.full_size import build_full_size
from artflow.modes.upscale import Network
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.inpaint_tab import InpaintTab
from artflow.ui.outpaint_tab import OutpaintTab
from artflow.ui.text_tab import TextTab
from artflow.ui.upscale_tab import UpscaleTab
from benchmarks.common import machine, scenes

ROUNDS = 7
MODEL = [(Runner, "encode"), (Runner, "predict"), (Runner, "decode"), (Network, "__call__")]


class Clock:
    """Seconds spent in functions, from whatever thread; those called by one another count once a thread."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def watching(self, functions: list[tuple[type, str]]) -> Iterator[None]:
        """Count the time in these methods while the context lasts."""
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


def actions(pipeline: Pipeline, folder: Path, always: dict[str, Any]) -> dict[str, Callable[[], Iterator[Any]]]:
    """What each tab's button does with a picture of 512 x 512, at the tab's own defaults."""
    photo = scenes(1, 512)[0]
    path = folder / "photo.png"
    Image.fromarray(photo).save(path)
    mask = np.zeros((512, 512, 3), np.uint8)
    mask[150:350, 150:350] = 255
    (mask_path := folder / "mask.png").write_bytes(encode_png(mask, {}))
    with gr.Blocks():
        text, inpaint = TextTab(pipeline), InpaintTab(pipeline)
        outpaint, upscale = OutpaintTab(pipeline), UpscaleTab(pipeline)

    def asked(tab: Any, **changes: Any) -> dict[str, Any]:
        values = {name: control.value for name, control in tab.controls.items()}
        common = {"prompt": "a red apple on a white background", "seed": 1, "request": None}
        return values | common | always | changes

    return {
        "text": lambda: text.text(**asked(text)),
        "text, HiresFix 2x": lambda: text.text(**asked(text, hires_scale=2)),
        "inpaint": lambda: inpaint.inpaint(str(path), str(mask_path), **asked(inpaint)),
        "outpaint, 128 px at the right": lambda: outpaint.outpaint(
            str(path), **asked(outpaint, right=128, ratio=0, anchor="centre")
        ),
        "upscale 2x": lambda: upscale.upscale(str(path), **asked(upscale)),
        "upscale 2x, redrawn": lambda: upscale.upscale(str(path), **asked(upscale, strength=0.3)),
    }


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sd-turbo", action="store_true")
    large = parser.parse_args().sd_turbo
    environment = {}
    if large:
        environment["ARTFLOW_MODEL__MODEL_ID"] = "stabilityai/sd-turbo"
        loader.load_model = lambda spec, dtype, device, **_: build_full_size(dtype=dtype, device=device)
    rounds = 1 if large else ROUNDS
    pipeline = Pipeline(load_settings(environ=environment))
    print(f"{pipeline.spec.title}, {machine()}\n")
    print("| tab | ms in all | model | everything else | share |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, act in actions(pipeline, Path(folder), {"steps": 1} if large else {}).items():
            seconds = []
            for _ in range(rounds + 1):
                clock = Clock()
                begin = time.perf_counter()
                with clock.watching(MODEL):
                    for _ in act():
                        pass
                seconds.append((time.perf_counter() - begin, clock.seconds))
            total, model = (1000 * median(values) for values in zip(*seconds[1:], strict=True))  # the first warms up
            print(f"| {name} | {total:.0f} | {model:.0f} | {total - model:.0f} | {1 - model / total:.0%} |", flush=True)
    pipeline.close()


if __name__ == "__main__":
    main()
