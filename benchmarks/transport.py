"""Camera to picture in a real browser: ArtFlow's socket against Gradio's own ``gr.Image`` streaming.

``python -m benchmarks.transport [seconds]``. Chromium's camera plays a film whose frames carry their number as
black and white bars. Both sides invert the picture, after 0 and after 30 ms of pretended work; the number is read
from the camera's video and again from the result, so latency is from the frame in the video to the frame in the
result, and frames a second are different frames shown. ArtFlow runs whole: page, socket, engine, with a
runner that pretends. The last table is what the server adds to the runner's work, seen from a bare client.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import gradio as gr
import numpy as np
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, sync_playwright
from websockets.sync.client import connect

from artflow.api.framing import pack, unpack
from artflow.engine.model_pool import ModelPool, PooledModel
from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.images import Picture, Size
from artflow.models.catalog import Catalog, ModelSpec
from artflow.models.loader import load_model
from artflow.models.model import Model
from artflow.pipeline import Pipeline
from artflow.settings import load_settings
from artflow.ui.app import build
from benchmarks.common import apart, machine
from tests.support.browser import launch_chromium, moving_scene, write_camera_video
from tests.support.tiny import build_tiny

SIDE, BITS, FRAMES, FPS = 512, 8, 240, 30
ROUNDS = 3
Numbers = tuple[float, float, float]  # frames a second, and latency in ms: median and 95th percentile
TAGS, SPACING = 64, 8.0  # how the runner marks latents with the picture they stand for

# Counts frames by the bars in them: when each number was first in the camera's video, and when in the result.
WATCH = """([resultSelector, bits, frames, fps]) => {
  const video = document.querySelector("video");
  const canvas = new OffscreenCanvas(bits, 1), context = canvas.getContext("2d", {willReadFrequently: true});
  const read = (source, width, height, inverted) => {
    const side = Math.min(width, height), left = (width - side) / 2;
    context.drawImage(source, left, height - side / 16, side, 1, 0, 0, bits, 1);
    const pixels = context.getImageData(0, 0, bits, 1).data;
    let number = 0;
    for (let i = 0; i < bits; i++) number = 2 * number + ((pixels[4 * i] > 127) !== inverted ? 1 : 0);
    return number;
  };
  const taken = new Map();
  // When a frame was in the video. A busy page does not see each of them, but they come at a steady pace.
  const takenAt = (number) => {
    for (let later = 0; later < 15; later++) {
      const at = taken.get((number + later) % frames);
      if (at !== undefined && performance.now() - at < 3000) return at - (1000 * later) / fps;
    }
  };
  window.latencies = [];
  window.shownFrames = 0;
  let last = -1;
  const nextVideo = (now) => {
    const number = read(video, video.videoWidth, video.videoHeight, false);
    const before = taken.get(number);
    if (before === undefined || now - before > 3000) taken.set(number, now); // the film plays in a loop
    video.requestVideoFrameCallback(nextVideo);
  };
  video.requestVideoFrameCallback(nextVideo);
  const shown = (source, width, height) => {
    const number = read(source, width, height, true);
    const at = takenAt(number);
    if (number === last || at === undefined) return;
    last = number;
    window.shownFrames += 1;
    window.latencies.push(performance.now() - at);
  };
  const result = document.querySelector(resultSelector);
  if (result instanceof HTMLCanvasElement) {
    new MutationObserver(() => shown(result, result.width, result.height))
      .observe(result.closest(".af"), {attributeFilter: ["data-shown"]});
  } else { // gr.Image replaces its <img>; load events can only be caught on their way down
    document.addEventListener("load", ({target}) => {
      if (target.matches?.(resultSelector + " img")) shown(target, target.naturalWidth, target.naturalHeight);
    }, true);
  }
}"""


def numbered_frame(index: int, size: tuple[int, int]) -> Image.Image:
    """A moving scene whose lowest eighth is the frame's number in bars."""
    image = moving_scene(index, size)
    draw = ImageDraw.Draw(image)
    width, height = size
    for bit in range(BITS):
        colour = "white" if index >> (BITS - 1 - bit) & 1 else "black"
        draw.rectangle((bit * width // BITS, height * 7 // 8, (bit + 1) * width // BITS - 1, height), fill=colour)
    return image


class PretendingRunner(Runner):
    """Takes ``pause`` seconds a call and inverts the pictures; all around it is the real engine."""

    pause = 0.0

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._pictures: dict[int, Picture] = {}
        self._tag = 0

    def encode(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Latents whose mean says which picture they stand for; noise does not move it."""
        height, width, _ = pictures[0].shape
        latents = torch.empty(len(pictures), *self.model.latent_shape(Size(width, height)))
        for latent, picture in zip(latents, pictures):
            self._tag = (self._tag + 1) % TAGS
            self._pictures[self._tag] = picture
            latent.fill_(self._tag * SPACING)
        return latents

    def predict(self, rows: Sequence[Row]) -> torch.Tensor:
        """No noise found, after a while."""
        time.sleep(self.pause)
        return torch.zeros(len(rows), *rows[0].latent.shape)

    def decode(self, latents: torch.Tensor) -> list[Picture]:
        """The inverted pictures that the latents stand for."""
        return [255 - self._pictures[round(latent.mean().item() / SPACING) % TAGS] for latent in latents]


def pretending_runner(pool: ModelPool, loading: PooledModel) -> Runner:
    """In place of `ModelPool.make_runner`."""
    return PretendingRunner(apart(lambda: load_model(loading.spec, device="cpu", dtype=torch.float32)))


@contextmanager
def artflow_app() -> Iterator[str]:
    """ArtFlow's own page; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        one_step = {"steps": 1, "strength": 0.3}
        spec = ModelSpec(
            id="pretend",
            source={"folder": str(build_tiny(Path(folder) / "model"))},
            width=SIDE,
            height=SIDE,
            defaults={"realtime": one_step},
        )
        with patch.object(ModelPool, "make_runner", pretending_runner):
            pipeline = Pipeline(load_settings(environ={}), Catalog(models=[spec]))
            pipeline.load().info.result()
        demo = build(pipeline)
        _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, mcp_server=False)
        try:
            yield url
        finally:
            demo.close(verbose=False)


@contextmanager
def gradio_app(stream_every: float) -> Iterator[str]:
    """The same work by ``gr.Image`` streaming, with what makes it fastest; yields its address."""

    def invert(frame: np.ndarray) -> np.ndarray:
        time.sleep(PretendingRunner.pause)
        return 255 - frame

    camera = gr.WebcamOptions(mirror=False, constraints={"video": {"width": SIDE, "height": SIDE, "frameRate": FPS}})
    with gr.Blocks(analytics_enabled=False, delete_cache=(60, 60)) as demo:
        source = gr.Image(sources=["webcam"], streaming=True, webcam_options=camera, format="jpeg", elem_id="source")
        result = gr.Image(streaming=True, format="jpeg", elem_id="result")
        source.stream(invert, source, result, stream_every=stream_every, time_limit=None, concurrency_limit=1)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False)
    try:
        yield url
    finally:
        demo.close(verbose=False)


def start_artflow(page: Page) -> str:
    """Starts the camera; returns the selector of the result."""
    page.locator(".af-mirror").click()
    # Only the picture counts here: the bars change too little of it for the similar-image filter.
    page.evaluate("artflow.set('realtime', {enable_similar_image_filter: false, priority: 'quality'})")
    page.locator(".af-start").click()
    page.locator(".af-webcam.af-has-result").wait_for()
    return ".af-webcam .af-picture"


def start_gradio(page: Page) -> str:
    """Starts the camera; returns the selector of the result."""
    page.get_by_text("Click to Access Webcam").click()
    page.locator("#source video").wait_for()
    page.locator("#source button:has-text('Record')").first.click()
    page.locator("#result img").wait_for()
    return "#result"


SIDES: dict[str, tuple[Callable[[], AbstractContextManager[str]], Callable[[Page], str]]] = {
    "ArtFlow": (artflow_app, start_artflow),
    "gr.Image, stream_every=0.1": (lambda: gradio_app(0.1), start_gradio),
    "gr.Image, stream_every=0.05": (lambda: gradio_app(0.05), start_gradio),
}


def measure(browser: Browser, url: str, start: Callable[[Page], str], seconds: float) -> Numbers:
    """Frames a second, median and 95th percentile of the latency in ms."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(url)
    selector = start(page)
    page.wait_for_timeout(2000)  # both sides warm up
    page.evaluate(WATCH, [selector, BITS, FRAMES, FPS])
    page.wait_for_timeout(1000)
    page.evaluate("latencies = []; shownFrames = 0; began = performance.now()")
    page.wait_for_timeout(1000 * seconds)
    shown, latencies, elapsed = page.evaluate("[shownFrames, latencies, performance.now() - began]")
    page.close()
    if not latencies:
        return 0.0, float("nan"), float("nan")
    return 1000 * shown / elapsed, median(latencies), float(np.percentile(latencies, 95))


def server_work(url: str, frames: int = 200) -> tuple[float, float]:
    """Milliseconds a frame around a runner that costs nothing: decode, engine, encode, and both ways.

    First what the processor worked (the client's small share included), which a busy machine does not change; then
    the median from sending a frame to holding its answer.
    """
    out = io.BytesIO()
    moving_scene(0, (SIDE, SIDE)).save(out, "JPEG", quality=85)
    address = url.replace("http", "ws").rstrip("/")
    times = []
    with connect(f"{address}/api/realtime/ws/{uuid.uuid4().hex}?results=1", max_size=None) as socket:
        header = {"status": "next_frame", "enable_similar_image_filter": False, "priority": "quality"}
        while isinstance(message := socket.recv(), str) and "connected" not in message:
            pass
        worked = time.process_time()
        for number in range(frames):
            began = time.perf_counter()
            socket.send(pack(header | {"frame": number}, out.getvalue()))
            while isinstance(message := socket.recv(), str):
                pass
            assert unpack(message)[0]["frame"] == number
            times.append(1000 * (time.perf_counter() - began))
        worked = time.process_time() - worked
    return 1000 * worked / frames, median(times)


def main(seconds: float = 6.0) -> None:
    """Print both tables."""
    print(f"{machine()}; Chromium, camera {SIDE} px at {FPS}/s, {ROUNDS} times {seconds:g} s each\n")
    print("| work | side | frames/s | latency ms, median | p95 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        film = write_camera_video(Path(folder) / "film.y4m", numbered_frame, size=(SIDE, SIDE), frames=FRAMES, fps=FPS)
        browser = launch_chromium(playwright, film)
        for cost in (0.0, 0.03):
            PretendingRunner.pause = cost
            seen: dict[str, list[Numbers]] = {name: [] for name in SIDES}
            for _ in range(ROUNDS):  # in turns, so that a machine's drift meets all of them alike
                for name, (app, start) in SIDES.items():
                    with app() as url:
                        seen[name].append(measure(browser, url, start, seconds))
            middle = {name: tuple(median(column) for column in zip(*rounds)) for name, rounds in seen.items()}
            for name, (fps, latency, slow) in middle.items():
                print(f"| {1000 * cost:g} ms | {name} | {fps:.1f} | {latency:.0f} | {slow:.0f} |", flush=True)
            (ours, *peers) = middle.values()
            fps, latency = max(peer[0] for peer in peers), min(peer[1] for peer in peers)
            print(f"| {1000 * cost:g} ms | ratio to the better | {ours[0] / fps:.1f}x | {ours[1] / latency:.2f}x | |")
        browser.close()
    PretendingRunner.pause = 0.0
    with artflow_app() as url:
        work, wait = server_work(url)
    print(
        f"\nServer work a {SIDE}x{SIDE} frame outside the runner: {work:.1f} ms; answered after {wait:.1f} ms (median)"
    )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]))
