"""The app served for a test, and a person at the other end of a socket."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from artflow.api.routes import app_kwargs
from artflow.images import Picture
from artflow.models.catalog import Catalog, Defaults, ModelSpec
from artflow.pipeline import Pipeline
from artflow.settings import PRESETS, Settings, load_settings
from tests.support.models import tiny_folder

PATIENCE = 60  # seconds after which a test that waits has failed
FREE_WITHIN = 5  # seconds in which everything held for a connection has to be free: a promise to people
PAGE = "/gradio_api/artflow"


def tiny_catalog() -> Catalog:
    """Two small models: the app's own, and another one."""
    defaults = Defaults(
        realtime={"steps": 1, "enable_similar_image_filter": False, "priority": "quality"},
        canvas={"steps": 2, "priority": "quality"},
        text={"steps": 3, "guidance_scale": 1.0, "sampler": "Euler"},
    )
    return Catalog(
        models=[
            ModelSpec(id="tiny", source={"folder": tiny_folder()}, width=64, height=64, defaults=defaults),
            ModelSpec(id="other", source={"folder": tiny_folder(seed=1)}, width=64, height=64, defaults=defaults),
        ]
    )


def tiny_settings(**environ: str) -> Settings:
    """The app's own settings on the CPU in float32, with some changed as by the environment."""
    fixed = {
        "ARTFLOW_MODEL__DEVICE": "cpu",
        "ARTFLOW_MODEL__DTYPE": "float32",
        "ARTFLOW_REALTIME__PERFORMANCE__ENABLE_SIMILAR_IMAGE_FILTER": "false",
    }
    return load_settings(PRESETS / "default.yaml", PRESETS / "no.env", fixed | environ)


class Served:
    """A running app and where it is."""

    def __init__(self, pipeline: Pipeline, app: FastAPI, port: int, path: str = "") -> None:
        self.pipeline, self.app, self.port, self.path = pipeline, app, port, path
        self._people: list[Person] = []
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}{path}", timeout=PATIENCE)

    def person(self, mode: str = "realtime", **options: Any) -> Person:
        """Somebody who opens a socket."""
        person = Person(self, mode, **options)
        self._people.append(person)
        return person

    def send_everybody_home(self) -> None:
        """Close what a test has left open."""
        while self._people:
            self._people.pop().socket.close()

    def wait_until_free(self) -> None:
        """Return when nothing is held for any connection; fail after `FREE_WITHIN` seconds."""
        end = time.monotonic() + FREE_WITHIN
        while self.app.state.artflow.count() or self.pipeline.client.engine.sessions:
            assert time.monotonic() < end, "something is still held"
            time.sleep(0.01)


@contextmanager
def serve(catalog: Catalog | None = None, kind: type[Pipeline] = Pipeline, **environ: str) -> Iterator[Served]:
    """Our routes on uvicorn, without the page."""
    pipeline = kind(tiny_settings(**environ), catalog or tiny_catalog())
    app = FastAPI(**app_kwargs(pipeline))
    app.cookie_id, app.tokens = "test", {}  # what Gradio's app class has
    # With the protocol named asyncio sends small messages at once (TCP_NODELAY), as it does for Gradio's socket.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio does for sockets that it makes
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    served = Served(pipeline, app, listening.getsockname()[1])
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        served.http.close()
        pipeline.close()


def jpeg(*colour: int, size: tuple[int, int] = (64, 64), kind: str = "JPEG") -> bytes:
    """A picture of one colour, as a file."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return out.getvalue()


def opened(data: bytes) -> Picture:
    """The pixels of a file."""
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def packed(header: dict[str, Any], picture: bytes = b"") -> bytes:
    """4 bytes length of the JSON (big endian), the JSON, the picture."""
    text = json.dumps(header).encode()
    return struct.pack(">I", len(text)) + text + picture


def unpacked(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON and the picture of a binary message."""
    (length,) = struct.unpack(">I", message[:4])
    return json.loads(message[4 : 4 + length]), message[4 + length :]


class Person:
    """A client that follows the protocol as the specification words it."""

    def __init__(
        self,
        served: Served,
        mode: str,
        *,
        results: bool = True,
        path: str | None = None,
        prefix: str = "",
        port: int | None = None,
        **options: Any,
    ) -> None:
        self.user_id = options.pop("user_id", uuid4().hex)
        self.requests = 0  # times that it was asked for a frame
        path = path or f"/api/{mode}/ws/{self.user_id}" + ("?results=1" if results else "")
        url = f"ws://127.0.0.1:{port or served.port}{served.path}{prefix}{path.format(id=self.user_id)}"
        self.socket: ClientConnection = connect(url, max_size=None, open_timeout=PATIENCE, **options)

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message; (JSON, nothing) for a text message. Progress and live numbers are passed over."""
        end = time.monotonic() + PATIENCE
        while True:
            message = self.socket.recv(max(end - time.monotonic(), 0.001))
            if isinstance(message, bytes):
                return unpacked(message)
            value = json.loads(message)
            self.requests += value["status"] == "send_frame"
            if value["status"] not in ("loading", "stats"):
                return value, b""

    def until(self, status: str) -> dict[str, Any]:
        """The next text message of a status, passing others over."""
        while (message := self.receive()[0]).get("status") != status:
            pass
        return message

    def answers(self, count: int) -> dict[int, tuple[dict[str, Any], bytes]]:
        """The next so many answers to frames, by their number, in the order in which they come."""
        came: dict[int, tuple[dict[str, Any], bytes]] = {}
        while len(came) < count:
            header, data = self.receive()
            if "frame" in header:
                came[header["frame"]] = header, data
        return came

    def greeted(self) -> Person:
        """Take the greeting: connected, and the first request for a frame."""
        connected = self.receive()[0]
        assert connected["status"] == "connected", connected
        assert self.receive()[0] == {"status": "send_frame"}
        return self

    def send(self, picture: bytes = b"", **params: Any) -> None:
        """One message: settings, and a picture."""
        self.socket.send(packed({"status": "next_frame"} | params, picture))

    def answer(self, picture: bytes = b"", **params: Any) -> tuple[dict[str, Any], bytes]:
        """Send a message, and take what comes next that is no request, nor says who answers from now on: its answer."""
        self.send(picture, **params)
        while (answer := self.receive())[0].get("status") in ("send_frame", "model"):
            pass
        return answer
