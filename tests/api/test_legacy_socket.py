"""The socket of the earlier servers (P2): three messages a frame, pictures on the stream."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from artflow.engine.model_pool import ModelPool
from tests.api.client import PAGE, Person, Served, jpeg, opened, serve
from tests.api.test_stream import Watcher

RED = jpeg(200, 20, 20)


class LegacyPerson(Person):
    """A front end written for the earlier servers."""

    def __init__(self, served: Served, query: str = "", **options: Any) -> None:
        super().__init__(served, "", path="/api/ws/{id}" + query, **options)

    def send(self, picture: bytes = b"", **params: Any) -> None:
        self.socket.send(json.dumps({"status": "next_frame"}))
        self.socket.send(json.dumps(params))
        self.socket.send(picture)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_a_stream_of_many_steps_goes_on(server: Served, steps: int) -> None:
    """It takes several frames to push the first one out, and this client sends one only when it is asked to."""
    with LegacyPerson(server) as person, Watcher(server, f"/api/stream/{person.user_id}") as watcher:
        sent = 0
        while watcher.files.qsize() < 6:
            if person.receive()[0]["status"] == "send_frame":
                person.send(RED, steps=steps, strength=1.0)
                sent += 1
        assert sent >= steps + 2


def test_parameters_may_have_the_names_and_seeds_of_the_earlier_front_ends(server: Served) -> None:
    legacy: dict[str, Any] = {"prompt": "x", "num_inference_steps": 1, "seed": 502923423887318, "denoise": 0.6}
    with LegacyPerson(server) as person, Watcher(server, f"/api/stream/{person.user_id}") as watcher:
        for guidance in ({"guidance_scale": 7.5}, {"cfg_scale": 2.0}):
            person.until("send_frame")
            person.send(RED, **legacy, **guidance)
            assert watcher.picture().shape == (64, 64, 3)


@pytest.mark.parametrize("prefix", ["", PAGE])
@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_three_messages_a_frame_and_the_pictures_on_the_stream(server: Served, mode: str, prefix: str) -> None:
    with LegacyPerson(server, f"?mode={mode}", prefix=prefix) as person:
        assert person.receive()[0]["status"] == "connected"
        assert person.receive()[0] == {"status": "send_frame"}
        with Watcher(server, f"{prefix}/api/stream/{person.user_id}") as watcher:
            for i in range(3):
                person.send(RED, prompt=f"number {i}")
                statuses = {person.receive()[0]["status"] for _ in range(2)}
                assert statuses == {"send_frame", "wait"}
                assert watcher.picture().shape == (64, 64, 3)


def test_the_mode_is_realtime_where_none_is_given(server: Served) -> None:
    with LegacyPerson(server) as person:
        person.until("send_frame")
        assert server.http.get("/api/realtime/queue").json() == {"queue_size": 1}


def test_an_unknown_mode_is_refused(server: Served) -> None:
    with LegacyPerson(server, "?mode=sculpture") as person:
        error, _ = person.receive()
        assert error["code"] == "bad_parameter" and "realtime or canvas" in error["message"]


def test_no_picture_gets_the_place_back(server: Served) -> None:
    """The earlier front ends send an empty picture while their camera starts."""
    with LegacyPerson(server) as person:
        person.until("send_frame")
        for _ in range(3):
            person.send(b"")
            assert person.receive()[0] == {"status": "send_frame"}


BAD = {
    "no next_frame": [json.dumps({"status": "hello"})],
    "no JSON": ["hello"],
    "a picture first": [RED],
    "no settings": [json.dumps({"status": "next_frame"}), RED, RED],
    "broken settings": [json.dumps({"status": "next_frame"}), "{", RED],
    "a picture as text": [json.dumps({"status": "next_frame"}), "{}", "picture"],
    "no picture file": [json.dumps({"status": "next_frame"}), "{}", b"picture"],
}


@pytest.mark.parametrize("what", BAD)
def test_after_a_mistake_the_next_frame_is_read_from_its_beginning(server: Served, what: str) -> None:
    with LegacyPerson(server) as person:
        person.until("send_frame")
        for _ in range(3):
            for message in BAD[what]:
                person.socket.send(message)
            error, _ = person.receive()
            assert error["status"] == "wait" and error["code"] and error["message"]  # they take "error" for the end
            assert person.receive()[0] == {"status": "send_frame"}
        person.send(RED)
        assert person.receive()[0]["status"] == "wait"


def test_after_the_servers_timeout_it_says_so_and_closes() -> None:
    with serve(ARTFLOW_SERVER__TIMEOUT="0.5") as server:
        server.pipeline.load().info.result(30)
        with LegacyPerson(server) as legacy, server.person("canvas") as person:
            assert legacy.until("timeout")["message"] == "Your 0.5 seconds are over."
            assert person.until("timeout")
        server.wait_until_free()


def test_the_time_does_not_begin_before_the_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModelPool.make_runner
    monkeypatch.setattr(ModelPool, "make_runner", lambda pool, loading: (time.sleep(1), made(pool, loading))[1])
    with serve(ARTFLOW_SERVER__TIMEOUT="0.5") as server, LegacyPerson(server) as person:
        assert person.receive()[0]["status"] == "connected"


def test_settings_and_queue_are_where_the_earlier_servers_had_them(server: Served) -> None:
    assert server.http.get("/api/settings").json() == server.http.get("/api/realtime/settings").json()
    assert server.http.get("/api/queue").json() == {"queue_size": 0}
    with LegacyPerson(server) as person, server.person("canvas") as other:
        person.until("send_frame"), other.until("send_frame")
        assert server.http.get("/api/queue").json() == {"queue_size": 2}


def test_the_picture_is_that_of_the_newer_socket(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        expected = opened(person.answer(RED, prompt="x", seed=4)[1])
    with LegacyPerson(server, "?mode=canvas") as legacy:
        legacy.until("send_frame")
        with Watcher(server, f"/api/stream/{legacy.user_id}?quality=95") as watcher:
            legacy.send(RED, prompt="x", seed=4)
            assert abs(watcher.picture().astype(int) - expected).mean() < 2
