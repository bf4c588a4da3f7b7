"""Live people at the other end of sockets, in a process of their own: ``People`` starts them and asks for numbers.

Every person keeps ``window`` frames on the way, as the pages do: a camera's next frame is sent when one comes back.
Frames are JPEG of the model's size, made before, for live inpaint PNG with a hole; what comes back is not decoded.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import time
from itertools import cycle
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from PIL import Image
from websockets.asyncio.client import connect

from artflow.api.framing import pack, unpack

PLAIN = {"enable_similar_image_filter": False, "priority": "quality", "steps": 1, "prompt": "a cat on grass"}
SCENES = 16


class Seen(NamedTuple):
    """What people got between `People.begin` and `People.end`; times in seconds."""

    pictures: float  # a second, of all together
    median: float  # from sending a frame to holding its answer
    p95: float
    longest: float  # gap between two pictures of one person


class People:
    """``count`` people in a live mode of the app on a port of this machine; ready when each has seen a picture."""

    def __init__(self, port: int, mode: str, count: int = 1, window: int = 2, **settings: Any) -> None:
        asked = json.dumps([port, mode, count, window, PLAIN | settings])
        command = [sys.executable, "-m", "benchmarks.people", asked]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def __enter__(self) -> People:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def begin(self) -> None:
        """Count from now on."""
        self._say("begin")

    def end(self) -> Seen:
        """The numbers since `begin`."""
        self._say("end")
        return Seen(*json.loads(self._line()))

    def during(self, seconds: float) -> Seen:
        """The numbers of the next seconds."""
        self.begin()
        time.sleep(seconds)
        return self.end()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the people have gone")
        return line


class Person:
    """One socket, and when its pictures came."""

    def __init__(self, number: int) -> None:
        self.came: list[tuple[float, float]] = []  # when, and how long after its frame was sent
        self.seen = asyncio.Event()
        self._sent: dict[int, float] = {}
        self._rng = np.random.default_rng(number)

    async def live(self, port: int, mode: str, window: int, settings: dict[str, Any]) -> None:
        """Send frames and take answers until cancelled."""
        address = f"ws://127.0.0.1:{port}/api/{mode}/ws/{uuid4().hex}?results=1"
        frames = cycle([_scene(self._rng, hole=mode == "inpaint") for _ in range(SCENES)])
        places = 0
        async with connect(address, max_size=None, compression=None) as socket:
            async for message in socket:
                if isinstance(message, str):
                    status = json.loads(message)
                    if status["status"] == "error":
                        raise RuntimeError(status["message"])
                    places += status["status"] == "send_frame"
                else:
                    header, picture = unpack(message)
                    sent = self._sent.pop(header["frame"])
                    if picture:
                        now = time.perf_counter()
                        self.came.append((now, now - sent))
                        self.seen.set()
                while places and len(self._sent) < window:
                    places -= 1
                    await self._send(socket, settings, next(frames))

    async def _send(self, socket: Any, settings: dict[str, Any], frame: bytes) -> None:
        number = self._number = getattr(self, "_number", -1) + 1
        self._sent[number] = time.perf_counter()
        await socket.send(pack({"status": "next_frame", "frame": number} | settings, frame))


def _scene(rng: np.random.Generator, side: int = 128, *, hole: bool = False) -> bytes:
    """A picture as a page sends it; with a hole it is transparent there."""
    out = io.BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    scene = coarse.resize((side, side), Image.Resampling.BICUBIC)
    if hole:
        opaque = Image.new("L", scene.size, 255)
        left, top = rng.integers(0, side // 2, 2).tolist()
        opaque.paste(0, (left, top, left + side // 2, top + side // 2))
        scene.putalpha(opaque)
        scene.save(out, "PNG", compress_level=1)
    else:
        scene.save(out, "JPEG", quality=85)
    return out.getvalue()


def _numbers(people: list[Person], begin: float, end: float) -> Seen:
    latencies = [latency for person in people for _, latency in person.came]
    gaps = [np.diff([begin, *(at for at, _ in person.came), end]).max() for person in people]
    if not latencies:
        return Seen(0, float("inf"), float("inf"), end - begin)
    middle, slow = np.percentile(latencies, [50, 95])
    return Seen(len(latencies) / (end - begin), float(middle), float(slow), float(max(gaps)))


async def _main(port: int, mode: str, count: int, window: int, settings: dict[str, Any]) -> None:
    people = [Person(number) for number in range(count)]
    tasks = [asyncio.create_task(person.live(port, mode, window, settings)) for person in people]
    everybody = asyncio.gather(*(person.seen.wait() for person in people))
    await asyncio.wait([everybody, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # raises what went wrong
    print("ready", flush=True)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    begin = time.perf_counter()
    while word := (await reader.readline()).decode().strip():
        if word == "begin":
            for person in people:
                person.came.clear()
            begin = time.perf_counter()
        else:
            print(json.dumps(_numbers(people, begin, time.perf_counter())), flush=True)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(_main(*json.loads(sys.argv[1])))
