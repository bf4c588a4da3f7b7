"""What a connection holds is free when it ends, however it ends; and models come while people wait."""

from __future__ import annotations

import shutil
import socket as sockets
import struct
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from artflow.models.catalog import Catalog, ModelSpec
from tests.api.client import FREE_WITHIN, PATIENCE, Person, Served, jpeg, packed, serve
from tests.support.live import held
from tests.support.models import tiny_folder
from tests.support.network import Network

RED = jpeg(200, 20, 20)


def part_in_peace(person: Person) -> None:
    person.socket.close()


def vanish(person: Person) -> None:
    """As a phone does in a tunnel: the connection is reset without a word."""
    raw = person.socket.socket
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def vanish_in_mid_frame(person: Person) -> None:
    """A WebSocket frame of 100 kB is announced, and a thousand bytes of it come."""
    header = b"\x82\xff" + struct.pack(">Q", 100_000) + b"mask"
    person.socket.socket.sendall(header + packed({"status": "next_frame"}, RED).ljust(1000, b"\0"))
    vanish(person)


@pytest.mark.parametrize("leave", [part_in_peace, vanish, vanish_in_mid_frame])
@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_everything_is_freed_when_a_client_goes(server: Served, mode: str, leave: Callable[[Person], None]) -> None:
    person = server.person(mode, user_id="leaving").greeted()
    person.answer(RED)
    person.send(RED, steps=3)
    with held(server.pipeline.client.engine):  # with frames that wait, and frames in flight
        for _ in range(3):
            person.send(RED)
        channel = server.app.state.artflow._channels[mode, "leaving"]
        refs = weakref.ref(channel), weakref.ref(channel.session)
        del channel
        leave(person)
    end = time.monotonic() + FREE_WITHIN
    while any(ref() is not None for ref in refs):
        assert time.monotonic() < end, "still held"
        time.sleep(0.02)
    server.wait_until_free()


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_who_comes_back_after_their_network_was_cut_is_served_at_once(server: Served, mode: str) -> None:
    """Nothing tells the server that the old socket is dead, and its place may be the only one."""
    network = Network(server.port)
    with server.person(mode, user_id="back", port=network.port).greeted() as before:
        before.answer(RED)
        network.cut()
        for _ in range(3):
            before.send(RED)  # which never come
        old = server.app.state.artflow._channels[mode, "back"]
        with server.person(mode, user_id="back", port=network.port).greeted() as now:
            assert now.answer(RED)[1]
            assert old.closed and server.app.state.artflow.count() == 1
        network.close()


def test_a_socket_whose_id_is_taken_over_is_told(server: Served) -> None:
    first = server.person("canvas", user_id="mine").greeted()
    second = server.person("canvas", user_id="mine").greeted()
    with pytest.raises(ConnectionClosed):
        while True:
            first.socket.recv(PATIENCE)
    assert (first.socket.close_code, first.socket.close_reason) == (
        1008, "Another socket of yours has taken over this id."
    )  # fmt: skip
    assert second.answer(RED)[1]


def test_an_id_is_taken_over_while_its_model_is_loaded() -> None:
    with serve() as server:
        with held(server.pipeline.client.engine):
            first = server.person("canvas", user_id="mine")
            first.socket.recv(PATIENCE)
            second = server.person("canvas", user_id="mine")
            with pytest.raises(ConnectionClosed):
                while True:
                    first.socket.recv(PATIENCE)
        assert second.greeted().answer(RED)[1]
        second.socket.close()
        server.wait_until_free()


def test_a_client_that_does_not_read_piles_nothing_up(server: Served) -> None:
    """Places come back when answers have gone out, so a sender who never reads is held back by its own socket."""
    with server.person("canvas", user_id="deaf", max_queue=1, close_timeout=0.5).greeted() as person:
        outbox = server.app.state.artflow._channels["canvas", "deaf"].outbox
        for _ in range(120):
            person.send(RED)
        assert outbox.qsize() <= 2 * 4 + 2
        assert len(person.answers(120)) == 120


def test_who_waits_for_the_model_hears_how_it_comes_and_may_leave() -> None:
    with serve() as server:
        with held(server.pipeline.client.engine):  # the model's warm-up is done there, so it cannot become ready
            waiting = server.person("canvas")
            message = waiting.socket.recv(30)
            assert '"status":"loading"' in message and '"message":"' in message and '"progress":' in message
            gone = server.person("canvas")
            gone.socket.recv(30)
            assert server.app.state.artflow.count() == 2
            vanish(gone)
            end = time.monotonic() + FREE_WITHIN
            while server.app.state.artflow.count() != 1:
                assert time.monotonic() < end
                time.sleep(0.01)
        assert waiting.greeted().answer(RED)[1]
        waiting.socket.close()
        server.wait_until_free()


def test_a_model_that_cannot_be_loaded_is_told_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder(), folder)
    (folder / "unet" / "config.json").rename(folder / "hidden")
    catalog = Catalog(models=[ModelSpec(id="broken", source={"folder": folder}, width=64, height=64)])
    with serve(catalog) as server:
        for _ in range(2):
            with server.person("canvas") as person:
                error, _ = person.receive()
                assert error["code"] == "model_load_failed" and "broken" in error["message"]
                with pytest.raises(ConnectionClosed):
                    person.receive()
                assert person.socket.close_code != 1008  # so that the page asks again
        (folder / "hidden").rename(folder / "unet" / "config.json")
        with server.person("canvas").greeted() as person:
            assert person.answer(RED)[1]


def test_the_server_stops_with_sockets_open() -> None:
    with serve() as server:
        person = server.person("canvas").greeted()
        person.answer(RED)
    with pytest.raises(ConnectionClosed):
        while True:
            person.socket.recv(5)
