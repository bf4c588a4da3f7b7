"""Bad input: each gets its stated error, the socket stays usable, and nobody else notices."""

from __future__ import annotations

import json
import re
import struct
import time
import zlib
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.api.client import Person, Served, jpeg, opened, packed, serve
from tests.support.live import difference, held

RED = jpeg(200, 20, 20)


def huge_png() -> bytes:
    """The header of a 30,000 x 30,000 PNG, and next to nothing after it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def raw(text: str, picture: bytes = RED) -> bytes:
    """A message of JSON that `json.dumps` would not write."""
    data = text.encode()
    return struct.pack(">I", len(data)) + data + picture


NEXT = {"status": "next_frame", "frame": 5}
DEEP = '{"prompt": ' + "[" * 900 + "]" * 900 + "}"

BAD: dict[str, tuple[bytes | str, str, str]] = {
    "wrong size": (packed(NEXT | {"width": 70}, RED), "bad_size", "the nearest are 64 and 72"),
    "too large a size": (packed(NEXT | {"width": 4096}, RED), "bad_size", "from 16 to 1024"),
    "not an image": (packed(NEXT, b"<html>hello</html>"), "bad_picture", "no JPEG, PNG, WebP"),
    "a cut image": (packed(NEXT, jpeg(1, 2, 3, size=(512, 512), kind="PNG")[:700]), "bad_picture", "cannot be read"),
    "a PPM": (packed(NEXT, jpeg(1, 2, 3, kind="PPM")), "bad_picture", "no JPEG, PNG, WebP"),
    "a huge PNG": (packed(NEXT, huge_png()), "picture_too_large", "8294400"),
    "too many bytes": (packed(NEXT, b"x" * 8_000_001), "picture_too_large", "at most 8000000"),
    "an empty message": (b"", "bad_message", "0 bytes"),
    "a cut length": (b"\x00\x00", "bad_message", "2 bytes"),
    "a cut message": (packed(NEXT, RED)[:20], "bad_message", "only 16 follow"),
    "a length that lies": (struct.pack(">I", 60_000) + b"{}" + RED, "bad_message", "should have 60000 bytes"),
    "a length that lies a lot": (struct.pack(">I", 2**31) + b"{}" + RED, "message_too_large", "at most 65536"),
    "a length that cuts the JSON": (struct.pack(">I", 3) + b'{"a":1}' + RED, "bad_message", "not JSON"),
    "NaN": (raw('{"strength": NaN}'), "bad_message", "NaN is not a number that is allowed"),
    "an endless number": (raw('{"strength": 1e999}'), "bad_parameter", "strength"),
    "a number out of range": (packed(NEXT | {"steps": 99}, RED), "bad_parameter", "`steps` cannot be 99"),
    "a number with 5000 digits": (raw('{"seed": ' + "9" * 5000 + "}"), "bad_message", "not JSON"),
    "a word for a number": (packed(NEXT | {"steps": "many"}, RED), "bad_parameter", "`steps` cannot be 'many'"),
    "an unknown key": (packed(NEXT | {"stepz": 2}, RED), "bad_parameter", "`stepz` does not exist.*allowed are.*steps"),
    "a long unknown key": (packed(NEXT | {"k" * 30_000: 2}, RED), "bad_parameter", r"k\.\.\.` does not exist"),
    "an unknown choice": (packed(NEXT | {"cfg_type": "much"}, RED), "bad_parameter", "'none', 'self', 'initialize'"),
    "impossible indices": (packed(NEXT | {"t_index_list": [30, 10]}, RED), "bad_t_index_list", "rising"),
    "a long prompt": (packed(NEXT | {"prompt": "x" * 1001}, RED), "prompt_too_long", "1001 characters; at most 1000"),
    "a 10 MB prompt": (packed(NEXT | {"prompt": "x" * 10_000_000}), "message_too_large", "at most 65536"),
    "a list": (raw("[1, 2]"), "bad_message", "must be an object"),
    "deep brackets": (raw(DEEP), "", "prompt|nested|RecursionError"),
    "half a character": (raw('{"prompt": "\\ud83d"}'), "bad_message", "not Unicode"),
    "a frame number below zero": (packed({"frame": -1}, RED), "bad_parameter", "a whole number from 0"),
    "a frame number that is none": (packed({"frame": True}, RED), "bad_parameter", "a whole number from 0"),
    "another status": (packed({"status": "goodbye"}, RED), "bad_message", "'goodbye'.*must be 'next_frame'"),
    "a text message": (json.dumps(NEXT), "bad_message", "text message"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_bad_input_is_told_what_is_wrong_and_costs_nothing(server: Served, mode: str, what: str) -> None:
    message, code, words = BAD[what]
    with server.person(mode).greeted() as person:
        expected = opened(person.answer(RED, prompt="before", seed=3)[1])
        for _ in range(6):  # more often than there are places
            person.socket.send(message)
            error = person.until("error")
            assert code in ("", error["code"]), error
            assert re.search(words, error["message"]), error
            assert len(error["message"]) < 2000
        header, data = person.answer(RED, frame=8)
        assert header["frame"] == 8 and header["recipe"]["prompt"] == "before"
        assert difference(opened(data), expected) == 0


def test_an_error_says_which_frame_it_is_about(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        assert person.answer(b"no picture", frame=41)[0]["frame"] == 41
        assert person.answer(RED, frame=42, steps=99)[0]["frame"] == 42


def test_a_neighbour_of_bad_input_notices_nothing(server: Served) -> None:
    with server.person("canvas").greeted() as good, server.person("canvas").greeted() as bad:
        expected = opened(good.answer(RED)[1])
        for i, (message, _, _) in enumerate(BAD.values()):
            bad.socket.send(message)
            if i % 4 == 0:
                assert difference(opened(good.answer(RED)[1]), expected) == 0
            assert bad.until("error")


def test_too_many_strokes_at_once_are_told_so() -> None:
    with serve(ARTFLOW_SERVER__MAX_WAITING="1") as server, server.person("canvas").greeted() as person:
        with held(server.pipeline.client.engine):
            for i in range(4):
                person.send(RED, frame=i)
            errors = [person.until("error") for _ in range(3)]
        assert [e["code"] for e in errors] == ["too_many_waiting"] * 3
        assert [e["frame"] for e in errors] == [1, 2, 3]
        assert list(person.answers(1)) == [0]


@pytest.mark.parametrize("user_id", ["a%20b", "ä", "x" * 65, "a%2e"])
def test_a_user_id_is_plain(server: Served, user_id: str) -> None:
    with server.person(user_id=user_id) as person:
        assert person.receive()[0]["code"] == "bad_user_id"
        assert closed_with(person) == 1008


def test_one_session_too_many_is_told_so_and_a_place_that_gets_free_can_be_had() -> None:
    with serve(ARTFLOW_SERVER__MAX_QUEUE_SIZE="2") as server:
        people = [server.person("canvas").greeted() for _ in range(2)]
        with server.person("canvas") as third:
            assert third.receive()[0] == {
                "status": "error",
                "code": "too_many_sessions",
                "message": "All 2 places are taken; try again in a moment.",
            }
            assert closed_with(third) != 1008  # which would mean: do not come back
        people[0].socket.close()
        end = time.monotonic() + 5
        while server.pipeline.client.engine.sessions > 1:
            assert time.monotonic() < end
        with server.person("canvas").greeted() as fourth:
            assert fourth.answer(RED)[1]
        people[1].socket.close()


def closed_with(person: Person) -> Any:
    """The close code, once the server has closed the socket."""
    with pytest.raises(ConnectionClosed):
        while True:
            person.receive()
    return person.socket.close_code


def test_a_refused_setting_costs_no_other(server: Served) -> None:
    """A page sends all that it has after a reconnect: one field that is wrong must not lose the prompt."""
    with server.person("canvas").greeted() as person:
        header, _ = person.answer(jpeg(1, 2, 3), prompt="a red fox", seed=None, steps=3)
        assert header["code"] == "bad_parameter" and "seed" in header["message"]
        header, data = person.answer(jpeg(1, 2, 3))
        assert data and (header["recipe"]["prompt"], header["recipe"]["steps"]) == ("a red fox", 3)
