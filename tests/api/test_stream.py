"""The pictures of a session as an endless multipart response (P3)."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator

import httpx
import pytest

from artflow.images import Picture
from tests.api.client import PAGE, PATIENCE, Served, jpeg, opened
from tests.support.live import difference, wait_until

RED, GREEN = jpeg(200, 20, 20), jpeg(20, 200, 20)


class Watcher:
    """Reads a stream in the background, as an ``<img>`` does."""

    def __init__(self, served: Served, path: str, **headers: str) -> None:
        self.files: queue.Queue[bytes] = queue.Queue()
        self.ended = threading.Event()
        self._client = httpx.Client(timeout=PATIENCE, headers=headers)
        self._context = self._client.stream("GET", f"http://127.0.0.1:{served.port}{served.path}{path}")

    def __enter__(self) -> Watcher:
        self.response = self._context.__enter__()
        if self.response.status_code == 200:
            threading.Thread(target=self._read, daemon=True).start()
        else:
            self.response.read()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(httpx.HTTPError, RuntimeError):
            self._context.__exit__(None, None, None)
        self._client.close()

    def picture(self) -> Picture:
        """The next picture. Each comes twice, because Chrome shows a part only when the next one begins."""
        first, second = (self.files.get(timeout=PATIENCE) for _ in range(2))
        assert first == second
        return opened(first)

    def _read(self) -> None:
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError, OSError):
            for file in _parts(self.response.iter_raw()):
                self.files.put(file)
        self.ended.set()


def _parts(chunks: Iterator[bytes]) -> Iterator[bytes]:
    data = b""
    for chunk in chunks:
        data += chunk
        while b"\r\n\r\n" in data:
            head, rest = data.split(b"\r\n\r\n", 1)
            lines = head.split(b"\r\n")
            assert lines[:2] == [b"--frame", b"Content-Type: image/jpeg"], lines
            length = int(lines[2].removeprefix(b"Content-Length: "))
            if len(rest) < length + 2:
                break
            yield rest[:length]
            data = rest[length + 2 :]


@pytest.mark.parametrize("path", ["/api/{mode}/stream/{id}", "/api/stream/{id}", PAGE + "/api/{mode}/stream/{id}"])
@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_the_pictures_of_a_socket(server: Served, mode: str, path: str) -> None:
    with server.person(mode).greeted() as person, contextlib.ExitStack() as stack:
        path = path.format(mode=mode, id=person.user_id) + "?quality=95"
        watcher = stack.enter_context(Watcher(server, path))
        assert watcher.response.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        assert watcher.response.headers["x-accel-buffering"] == "no"  # nginx: who watches slowly sees no old pictures
        for frame in (RED, GREEN):
            answer = opened(person.answer(frame, jpeg_quality=95)[1])
            assert difference(watcher.picture(), answer) == 0


def test_who_comes_late_sees_the_latest_picture(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        person.answer(RED)
        latest = opened(person.answer(GREEN)[1])
        with Watcher(server, f"/api/canvas/stream/{person.user_id}") as watcher:
            assert difference(watcher.picture(), latest) == 0


def test_quality_is_the_watchers_choice(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        person.answer(RED)
        sizes = []
        for quality in (10, 95):
            with Watcher(server, f"/api/canvas/stream/{person.user_id}?quality={quality}") as watcher:
                sizes.append(len(watcher.files.get(timeout=PATIENCE)))
        assert sizes[0] < sizes[1] / 2


def test_max_fps_leaves_pictures_out(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        base = f"/api/canvas/stream/{person.user_id}?max_fps="
        with Watcher(server, base + "0.01") as slow, Watcher(server, base + "240") as fast:
            for i in range(4):
                person.answer(jpeg(60 * i, 0, 0))
                slow.picture() if i == 0 else None
                fast.picture()
            assert slow.files.empty()


@pytest.mark.parametrize("query", ["quality=0", "quality=101", "quality=x", "max_fps=0", "max_fps=-1", "max_fps=nan"])
def test_impossible_wishes_are_refused(server: Served, query: str) -> None:
    with server.person("canvas").greeted() as person:
        assert server.http.get(f"/api/canvas/stream/{person.user_id}?{query}").status_code == 422


def test_without_a_socket_there_is_no_stream(server: Served) -> None:
    for path in ("/api/realtime/stream/nobody", "/api/canvas/stream/nobody", "/api/stream/nobody"):
        response = server.http.get(path)
        assert response.status_code == 404
        assert response.json()["code"] == "no_session"


def test_the_stream_ends_with_its_socket(server: Served) -> None:
    """And never goes on with the pictures of whoever takes the same id next."""
    with server.person("canvas", user_id="shared").greeted() as first:
        watcher = Watcher(server, "/api/canvas/stream/shared").__enter__()
        first.answer(RED)
        watcher.picture()
    server.wait_until_free()
    with server.person("canvas", user_id="shared").greeted() as second:
        second.answer(GREEN)
        assert watcher.ended.wait(PATIENCE)
        assert watcher.files.empty()
    watcher.__exit__()


def test_a_watcher_who_goes_is_forgotten(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        with Watcher(server, f"/api/canvas/stream/{person.user_id}") as watcher:
            person.answer(RED)
            watcher.picture()
        assert person.answer(GREEN)[1]


def test_many_watch_one_session(server: Served) -> None:
    with server.person("canvas").greeted() as person, contextlib.ExitStack() as stack:
        path = f"/api/canvas/stream/{person.user_id}"
        watchers = [stack.enter_context(Watcher(server, path)) for _ in range(3)]
        person.answer(RED)
        pictures = [watcher.picture() for watcher in watchers]
        assert all(difference(picture, pictures[0]) == 0 for picture in pictures)
        wait_until(lambda: all(watcher.files.empty() for watcher in watchers))
