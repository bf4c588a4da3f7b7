"""Which pages may open sockets, and under which names the app answers.

Whoever runs it at home visits other pages too, and those may ask for anything of the machine that they are shown on.
"""

from __future__ import annotations

import socket

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from artflow.api.security import foreign_host, foreign_page
from tests.api.client import serve

PROXIED = {"x-forwarded-for": "1.2.3.4"}


def asked(headers: dict[str, str], client: str = "127.0.0.1", root_path: str = "") -> HTTPConnection:
    """A socket's handshake as the app sees it."""
    app = FastAPI()
    app.root_path = root_path
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection(
        {"type": "websocket", "scheme": "ws", "path": "/", "query_string": b"", "headers": sent, "client": (client, 1),
         "server": ("127.0.0.1", 7860), "app": app}
    )  # fmt: skip


def test_pages_from_elsewhere_may_not_use_an_app_on_this_machine() -> None:
    """They are told who they are and what allows them; programs and pages of this machine send no such origin."""
    with serve(ARTFLOW_SERVER__ORIGINS='["https://friend.example/"]') as served:
        for origin in ("https://evil.example", "null"):
            with served.person(origin=origin) as person:
                header, _ = person.receive()
                assert header["code"] == "foreign_page"
                assert f"Pages of {origin} may not connect" in header["message"]
                assert f"""ARTFLOW_SERVER__ORIGINS='["{origin}"]'""" in header["message"]
                with pytest.raises(ConnectionClosed):
                    person.receive()
                assert person.socket.close_code == 1008  # not to be tried again
        for origin in (None, "http://localhost:3000", f"http://127.0.0.1:{served.port}", "https://friend.example"):
            with served.person(origin=origin).greeted():
                pass
        served.wait_until_free()


@pytest.mark.parametrize(
    ("origin", "client", "headers", "foreign"),
    [
        # other names for this machine, which the page chooses
        *[("https://evil.example", "127.0.0.1", {"host": f"{name}:7860"}, True)
          for name in ("127.0.0.1", "x.localhost", "localhost.", "0.0.0.0", "[::1]", "rebound.example")],
        ("https://evil.example", "172.17.0.1", {"host": "localhost:7860"}, True),  # into a container
        ("http://localhost:3000", "127.0.0.1", {"host": "127.0.0.1:7860"}, False),
        ("https://art.example", "127.0.0.1", {"host": "art.example"} | PROXIED, False),  # a share link
        ("https://art.example", "127.0.0.1", {"host": "127.0.0.1:1", "x-forwarded-host": "art.example, b"}, False),
        # proxies that leave the port out, or name the one that goes without saying
        ("https://art.example:8443", "127.0.0.1", {"host": "127.0.0.1:1", "x-forwarded-host": "art.example"}, False),
        ("https://art.example:8443", "127.0.0.1", {"host": "art.example"}, False),
        ("https://art.example", "127.0.0.1", {"host": "art.example:443"}, False),
        ("http://art.example:81", "127.0.0.1", {"host": "art.example:80"}, True),
        # nginx as it comes names only the upstream, like a page of any other site that asks for it
        ("https://art.example", "127.0.0.1", {"host": "127.0.0.1:7860"}, True),
        ("https://other.example", "10.0.0.9", {"host": "art.example"} | PROXIED, False),  # not this machine
        ("https://[::1", "127.0.0.1", {"host": "[::1"}, True),  # no addresses, and so no page of ours
    ],
)  # fmt: skip
def test_what_is_a_page_from_elsewhere(origin: str, client: str, headers: dict[str, str], foreign: bool) -> None:
    assert (foreign_page(asked({"origin": origin} | headers, client), ()) is not None) == foreign


def test_the_address_that_the_operator_states_is_the_apps_own() -> None:
    headers = {"origin": "https://art.example", "host": "127.0.0.1:7860"}
    assert foreign_page(asked(headers, root_path="https://art.example/studio"), ()) is None
    assert foreign_page(asked(headers, root_path="/studio"), ()) == "https://art.example"


@pytest.mark.parametrize(
    ("host", "client", "headers", "foreign"),
    [
        ("rebound.example:7860", "127.0.0.1", {}, True),
        ("rebound.example:7860", "::1", {}, True),
        ("127.0.0.1.rebound.example", "127.0.0.1", {}, True),
        ("", "127.0.0.1", {}, True),
        ("[::1", "127.0.0.1", {}, True),
        *[(name, "127.0.0.1", {}, False) for name in ("127.0.0.1:7860", "localhost", "x.localhost:1", "[::1]:7860")],
        ("192.168.1.5:7860", "127.0.0.1", {}, False),  # a number cannot be made to point elsewhere
        ("art.example", "192.168.1.7", {}, False),  # not from this machine
        ("art.example", "127.0.0.1", PROXIED, False),
        ("art.example", "127.0.0.1", {"x-real-ip": "1.2.3.4"}, False),
        ("friend.example:7860", "127.0.0.1", {}, False),  # listed
        ("stated.example", "127.0.0.1", {}, False),  # GRADIO_ROOT_PATH
    ],
)
def test_what_is_a_name_of_another_machine(host: str, client: str, headers: dict[str, str], foreign: bool) -> None:
    connection = asked({"host": host} | headers, client, "https://stated.example")
    assert (foreign_host(connection, ["https://friend.example"]) is not None) == foreign


def test_a_name_that_is_made_to_point_here_opens_nothing() -> None:
    """To browsers the page of such a name is one of ours, so its origin tells nothing (DNS rebinding)."""
    name = "rebound.example"
    with serve() as served:
        answer = served.http.get("/api/health", headers={"Host": name})
        assert answer.status_code == 421 and answer.json()["code"] == "foreign_host"
        assert name in answer.json()["message"]
        assert f"""ARTFLOW_SERVER__ORIGINS='["http://{name}"]'""" in answer.json()["message"]
        line = socket.create_connection(("127.0.0.1", served.port))
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{name}/api/realtime/ws/me", sock=line, origin=f"http://{name}")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
    with serve(ARTFLOW_SERVER__ORIGINS=f'["http://{name}"]') as served:
        assert served.http.get("/api/health", headers={"Host": name}).status_code == 200


def test_who_names_no_host_is_no_browser() -> None:
    with serve() as served, socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(b"GET /api/health HTTP/1.0\r\n\r\n")
        assert line.makefile("rb").readline().split()[1] == str(httpx.codes.OK).encode()
