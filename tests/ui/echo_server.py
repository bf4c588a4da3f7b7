"""A small server that speaks ArtFlow's live protocol and answers each frame with its colours inverted.

In inpaint it answers with the colour that the prompt names, where it names one.

It keeps what it was sent, counts violations of the protocol, and can be told to be slow, to fail, to load for
a while or to hang up, so that tests of the views need no engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from PIL import Image, ImageColor, ImageOps

from artflow.ui.components import CanvasView, InpaintView, WebcamView


@dataclass
class Frame:
    """One frame as the client sent it."""

    mode: str
    user_id: str
    header: dict[str, Any]
    picture: bytes

    @property
    def number(self) -> int:
        return self.header["frame"]

    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.picture)).convert("RGB")


@dataclass
class Echo:
    """How the server behaves (set by tests) and what it saw (read by tests)."""

    delay: float = 0.0  # of the work, one frame after the other
    distance: float = 0.0  # of the way back, any number of answers at once
    steps: int = 1  # pipelined in realtime: the answer to a frame comes with the (steps - 1)-th frame after it
    max_in_flight: int = 4
    size: tuple[int, int] = (512, 512)
    loading: list[dict[str, Any]] = field(default_factory=list)
    loaded: int = 0  # how many of these are over
    error: dict[str, Any] | None = None  # answers every frame with this instead of a picture
    skip: bool = False
    refuse: bool = False  # closes every new socket before "connected"
    initial_credits: bool = True  # says send_frame for each place at the start
    gpu_memory_mb: float | None = 2048.0

    frames: list[Frame] = field(default_factory=list)
    parameters_only: list[dict[str, Any]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    most_in_flight: int = 0
    violations: list[str] = field(default_factory=list)
    sockets: dict[WebSocket, asyncio.AbstractEventLoop] = field(default_factory=dict)
    _parameters: dict[str, Any] = field(default_factory=dict)

    def reset(self) -> None:
        """Back to the defaults, forgetting everything, without closing sockets that are open."""
        sockets = self.sockets
        self.__init__()  # type: ignore[misc]
        self.sockets = sockets

    def last_parameters(self) -> dict[str, Any]:
        """All parameters as the newest connection told them, later ones over earlier ones."""
        return self._parameters

    def hang_up(self, code: int = 1011) -> None:
        """Closes every open socket, as a restarted server would."""
        self._on_all(lambda socket: socket.close(code))

    def say(self, message: dict[str, Any]) -> None:
        """Sends a text message to everybody."""
        self._on_all(lambda socket: socket.send_json(message))

    def _on_all(self, act) -> None:
        for socket, loop in list(self.sockets.items()):
            asyncio.run_coroutine_threadsafe(_quietly(act(socket)), loop).result(5)


async def _quietly(awaitable) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await awaitable


class _Client:
    """One connected socket: latest frame wins in realtime and inpaint, every frame in order in canvas."""

    def __init__(self, echo: Echo, socket: WebSocket, mode: str, user_id: str) -> None:
        self.echo, self.socket, self.mode, self.user_id = echo, socket, mode, user_id
        self.waiting: list[Frame] = []
        self.air: list[Frame] = []
        self.wake = asyncio.Event()
        self.in_flight: set[int] = set()
        self.latencies: list[float] = []
        self.skipped = 0
        self.last: Frame | None = None
        self.travelling: set[asyncio.Task] = set()

    async def run(self) -> None:
        echo = self.echo
        await self.socket.accept()
        echo.sockets[self.socket] = asyncio.get_running_loop()
        echo.connections.append(self.user_id)
        echo._parameters = {}
        for index, message in enumerate(echo.loading):
            await self.socket.send_json({"status": "loading", **message})
            while echo.loaded <= index:
                await asyncio.sleep(0.02)
        if echo.refuse:
            await self.socket.close(1008)
            return
        width, height = echo.size
        await self.socket.send_json(
            {"status": "connected", "max_in_flight": echo.max_in_flight, "width": width, "height": height}
        )
        if echo.initial_credits:
            for _ in range(echo.max_in_flight):
                await self.socket.send_json({"status": "send_frame"})
        tasks = [asyncio.create_task(self.work()), asyncio.create_task(self.count())]
        try:
            while True:
                await self.receive(await self.socket.receive_bytes())
        finally:
            for task in tasks:
                task.cancel()

    async def receive(self, data: bytes) -> None:
        echo = self.echo
        (length,) = struct.unpack(">I", data[:4])
        header, picture = json.loads(data[4 : 4 + length]), data[4 + length :]
        if header.get("status") != "next_frame":
            echo.violations.append(f"unexpected message {header}")
        parameters = {key: value for key, value in header.items() if key not in ("status", "frame")}
        echo._parameters = {**echo._parameters, **parameters}
        if not picture:
            echo.parameters_only.append(parameters)
            if self.mode == "inpaint" and self.last and not self.waiting:
                self.waiting.append(self.last)
                self.wake.set()
            return
        frame = self.last = Frame(self.mode, self.user_id, header, picture)
        echo.frames.append(frame)
        self.in_flight.add(frame.number)
        echo.most_in_flight = max(echo.most_in_flight, len(self.in_flight))
        if len(self.in_flight) > echo.max_in_flight:
            echo.violations.append(f"{len(self.in_flight)} frames in flight")
        if self.mode != "canvas":
            while self.waiting:
                await self.answer(self.waiting.pop(0), dropped=True)
        self.waiting.append(frame)
        self.wake.set()

    async def work(self) -> None:
        while True:
            while not self.waiting:
                self.wake.clear()
                await self.wake.wait()
            self.air.append(self.waiting.pop(0))
            if self.mode == "realtime" and len(self.air) < self.echo.steps:
                continue
            while self.mode == "realtime" and len(self.air) > self.echo.steps:  # there were more steps before
                await self.answer(self.air.pop(0), dropped=True)
            frame = self.air.pop(0)
            started = time.perf_counter()
            await asyncio.sleep(self.echo.delay)
            colour = self.echo._parameters.get("prompt") if self.mode == "inpaint" else None
            picture = None if self.echo.skip else await asyncio.to_thread(_changed, frame.picture, colour)
            self.latencies.append(1000 * (time.perf_counter() - started))
            if self.echo.distance:
                self.travelling.add(asyncio.create_task(self.answer_from_afar(frame, picture)))
            else:
                await self.answer(frame, picture=picture)

    async def answer_from_afar(self, frame: Frame, picture: bytes | None) -> None:
        await asyncio.sleep(self.echo.distance)
        await _quietly(self.answer(frame, picture=picture))

    async def answer(self, frame: Frame, *, picture: bytes | None = None, dropped: bool = False) -> None:
        echo = self.echo
        self.in_flight.discard(frame.number)
        if echo.error and not dropped:
            await self.socket.send_json({"status": "error", "frame": frame.number, **echo.error})
        else:
            skipped = picture is None and not dropped
            self.skipped += skipped
            info = {
                "frame": frame.number,
                "seed": 7,
                "latency_ms": self.latencies[-1] if self.latencies else 0.0,
                "skipped": skipped,
                "dropped": dropped,
                "recipe": echo._parameters | dict(zip(("width", "height"), frame.image().size, strict=True)),
            }
            (echo.dropped if dropped else echo.answered).append(frame.number)
            header = json.dumps(info).encode()
            await self.socket.send_bytes(struct.pack(">I", len(header)) + header + (picture or b""))
        await self.socket.send_json({"status": "send_frame"})

    async def count(self) -> None:
        while True:
            await asyncio.sleep(1)
            recent = sorted(self.latencies[-100:]) or [0.0]
            await self.socket.send_json(
                {
                    "status": "stats",
                    "fps": float(len(recent)),
                    "latency_ms_p50": recent[len(recent) // 2],
                    "latency_ms_p95": recent[int(len(recent) * 0.95)],
                    "dropped": len(self.echo.dropped),
                    "skipped": self.skipped,
                    "waiting": len(self.waiting),
                    "sessions": len(self.echo.sockets),
                    "gpu_memory_mb": self.echo.gpu_memory_mb,
                    "stage": "full",
                }
            )


def _changed(picture: bytes, colour: str | None) -> bytes:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = Image.new("RGB", image.size, colour) if colour in ImageColor.colormap else ImageOps.invert(image)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=90)
    return out.getvalue()


def echo_routes(echo: Echo) -> list:
    """The live routes, for ``demo.launch(app_kwargs={"routes": ...})``."""
    router = APIRouter()

    @router.websocket("/gradio_api/artflow/api/{mode}/ws/{user_id}")
    async def live(socket: WebSocket, mode: str, user_id: str) -> None:
        try:
            await _Client(echo, socket, mode, user_id).run()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            echo.sockets.pop(socket, None)

    return list(router.routes)


def build_demo() -> gr.Blocks:
    """The views in tabs, each with a prompt that is wired the way the app wires its controls."""
    with gr.Blocks(title="Live views") as demo:
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab("Webcam"):
                webcam = WebcamView()
                webcam_prompt = gr.Textbox("first light", label="Prompt", elem_id="webcam-prompt")
            with gr.Tab("Canvas"):
                canvas = CanvasView()
                canvas_prompt = gr.Textbox("first light", label="Prompt", elem_id="canvas-prompt")
            with gr.Tab("Inpaint"):
                inpaint = InpaintView()
                inpaint_prompt = gr.Textbox("blue", label="Prompt", elem_id="inpaint-prompt")
        views = (
            (webcam, "realtime", webcam_prompt),
            (canvas, "canvas", canvas_prompt),
            (inpaint, "inpaint", inpaint_prompt),
        )
        for view, mode, prompt in views:
            hand_over = f"(prompt) => {{ window.artflow.set('{mode}', {{prompt}}) }}"
            view.ready(None, prompt, None, js=hand_over)
            prompt.input(None, prompt, None, js=hand_over)
    return demo


@contextlib.contextmanager
def serve(echo: Echo):
    """The demo on a free port; yields its address."""
    demo = build_demo()
    _, url, _ = demo.launch(
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        run_history=False,
        inbrowser=False,
        app_kwargs={"routes": echo_routes(echo)},
    )
    try:
        yield url
    finally:
        demo.close()
