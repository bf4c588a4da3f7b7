"""Clients of the live sockets for benchmarks, in a process of their own: `measure` starts them and says what they saw.

``python -m benchmarks.crowd '{"port": 7860, ...}'`` is how `measure` starts that process; the keys are `Crowd`'s.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any
from uuid import uuid4

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from artflow.api.framing import pack, unpack
from artflow.images import encode_jpeg
from benchmarks.common import scenes

PATIENCE = 60  # seconds for a reply


@dataclass(frozen=True)
class Crowd:
    """``people`` clients of one kind, who answer each request for a frame at once, or at most ``fps`` times a second.

    ``trip``: seconds from a client to the server and back, added by a proxy. ``older``: the three-message protocol, the
    pictures on the stream. ``still``: every frame is the same. ``side``: pixels a side of what is sent.
    """

    port: int
    mode: str = "realtime"
    people: int = 1
    fps: float = 0.0
    trip: float = 0.0
    older: bool = False
    still: bool = False
    side: int = 512
    warm_up: float = 2.0
    seconds: float = 5.0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What a crowd saw in all, a second.

    ``latency``: median and 95th percentile of the seconds from sending a frame to its picture. ``stages``: what the
    pictures' recipes say of what was given up under load.
    """

    uploads: float
    pictures: float
    drops: float
    latency: tuple[float, float] | None
    stages: list[str]

    @property
    def uploads_a_picture(self) -> float:
        """Frames that were sent for each that was shown."""
        return self.uploads / max(self.pictures, 1e-9)


def measure(crowd: Crowd, on_start: Callable[[], object] = lambda: None) -> Seen:
    """Run the crowd; ``on_start`` is called when its warm-up is over."""
    command = [sys.executable, "-m", "benchmarks.crowd", json.dumps(asdict(crowd))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline():
            on_start()
        answer = process.stdout.readline()
    if not answer:
        raise RuntimeError("the clients have failed; what they said is above")
    return Seen(**json.loads(answer))


class Counts:
    """What has been sent and what came back; every client adds to it."""

    def __init__(self) -> None:
        self.uploads = self.pictures = self.drops = 0
        self.latencies: list[float] = []
        self.stages: set[str] = set()

    def snapshot(self) -> tuple[float, int, int, int]:
        """The time, and the three counts."""
        return time.perf_counter(), self.uploads, self.pictures, self.drops


async def run(crowd: Crowd) -> None:
    """Everybody at once; prints a line when the warm-up is over, and the result as JSON."""
    pictures = [encode_jpeg(picture, 85) for picture in scenes(1 if crowd.still else 16, crowd.side)]
    counts = Counts()
    async with _way_to(crowd) as port:
        kind = _older_person if crowd.older else _person
        people = [asyncio.create_task(kind(crowd, port, counts, pictures, i)) for i in range(crowd.people)]
        await _wait(people, crowd.warm_up)
        counts.latencies.clear()
        counts.stages.clear()
        before = counts.snapshot()
        print("begun", flush=True)
        await _wait(people, crowd.seconds)
        seconds, uploads, shown, drops = (b - a for a, b in zip(before, counts.snapshot()))
        latency = tuple(np.percentile(counts.latencies, (50, 95))) if counts.latencies else None
        rates = uploads / seconds, shown / seconds, drops / seconds
        print(json.dumps(asdict(Seen(*rates, latency, sorted(counts.stages)))), flush=True)
        for person in people:
            person.cancel()
        await asyncio.gather(*people, return_exceptions=True)


async def _wait(people: list[asyncio.Task], seconds: float) -> None:
    """That long, or until one of them fails."""
    done, _ = await asyncio.wait(people, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for person in done:
        person.result()
        raise RuntimeError("a client has ended")


class _Pace:
    """When the next frame may go; a client who is late makes up for one frame at most."""

    def __init__(self, fps: float, late: float) -> None:
        self._interval = 1 / fps if fps else 0.0
        self._due = time.perf_counter() + late * self._interval

    async def wait(self) -> None:
        """Return when it may."""
        if self._interval:
            await asyncio.sleep(max(0.0, self._due - time.perf_counter()))
            self._due = max(self._due + self._interval, time.perf_counter() - self._interval)


async def _person(crowd: Crowd, port: int, counts: Counts, pictures: list[bytes], index: int) -> None:
    address = f"ws://127.0.0.1:{port}/api/{crowd.mode}/ws/{uuid4().hex}?results=1"
    sent: dict[int, float] = {}
    requests = asyncio.Semaphore(0)
    async with connect(address, max_size=None, compression=None, open_timeout=PATIENCE) as socket:

        async def send() -> None:
            pace = _Pace(crowd.fps, index / crowd.people)
            for number in count():
                await requests.acquire()
                await pace.wait()
                header = {"status": "next_frame", "frame": number} | ({} if number else crowd.settings)
                sent[number] = time.perf_counter()
                counts.uploads += 1
                await socket.send(pack(header, pictures[number % len(pictures)]))

        sender = asyncio.create_task(send())
        try:
            while True:
                message = await socket.recv()
                if isinstance(message, str):
                    status = json.loads(message)
                    if status["status"] == "error":
                        raise RuntimeError(message)
                    if status["status"] == "send_frame":
                        requests.release()
                    continue
                header, picture = unpack(message)
                began = sent.pop(header["frame"], None)
                counts.drops += header["dropped"]
                if picture and began is not None:
                    counts.pictures += 1
                    counts.latencies.append(time.perf_counter() - began)
                    counts.stages.add(header["recipe"]["stage"])
        finally:
            sender.cancel()
            with suppress(ConnectionClosed, asyncio.CancelledError):
                await sender


async def _older_person(crowd: Crowd, port: int, counts: Counts, pictures: list[bytes], index: int) -> None:
    user_id, watcher = uuid4().hex, None
    pace, number = _Pace(crowd.fps, index / crowd.people), 0
    address = f"ws://127.0.0.1:{port}/api/ws/{user_id}?mode={crowd.mode}"
    async with connect(address, compression=None, open_timeout=PATIENCE) as socket:
        try:
            while True:
                status = json.loads(await socket.recv())["status"]
                if status == "error":
                    raise RuntimeError("an older client got an error")
                if status == "connected":
                    watcher = asyncio.create_task(_watch(port, user_id, counts))
                if status != "send_frame":
                    continue
                await pace.wait()
                counts.uploads += 1
                await socket.send('{"status": "next_frame"}')
                await socket.send(json.dumps(crowd.settings))
                await socket.send(pictures[number % len(pictures)])
                number += 1
        finally:
            if watcher is not None:
                watcher.cancel()


async def _watch(port: int, user_id: str, counts: Counts) -> None:
    """Count the pictures of a stream, each of which comes twice."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /api/stream/{user_id}?max_fps=240 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        while True:
            line = await reader.readuntil(b"\n")
            if line.lower().startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
                counts.pictures += 0.5
    finally:
        writer.close()


@asynccontextmanager
async def _way_to(crowd: Crowd) -> AsyncIterator[int]:
    """The port to connect to: the server's, or that of a proxy that holds everything back for half a trip."""
    if not crowd.trip:
        yield crowd.port
        return

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while data := await reader.read(2**16):
                loop.call_later(crowd.trip / 2, writer.write, data)
        loop.call_later(crowd.trip / 2, writer.close)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", crowd.port)
        await asyncio.gather(forward(reader, far_writer), forward(far_reader, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


if __name__ == "__main__":
    asyncio.run(run(Crowd(**json.loads(sys.argv[1]))))
