"""With accounts (`launch(auth=...)`): only who is signed in, only from our own pages, and each only their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from artflow.api.routes import app_kwargs
from artflow.pipeline import Pipeline
from tests.api.client import PAGE, Person, Served, jpeg, tiny_catalog, tiny_settings
from tests.api.test_stream import Watcher

RED = jpeg(200, 20, 20)
GUARDED = [
    "/api/realtime/settings", "/api/canvas/settings", "/api/settings", "/api/realtime/queue", "/api/queue",
    "/api/metrics", "/metrics", "/docs", "/openapi.json",
    "/api/painter/styles", "/api/painter/named", "/api/lora/presets", "/api/lora/download/status",
    "/api/realtime/stream/me", "/api/canvas/stream/me", "/api/stream/me",
]  # fmt: skip
SOCKETS = ["/api/realtime/ws/me", "/api/canvas/ws/me", "/api/ws/me", "/api/lora/ws/progress"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    """A Gradio app with two accounts, and our routes beside it."""
    pipeline = Pipeline(tiny_settings(), tiny_catalog())
    with gr.Blocks() as demo:
        gr.Markdown("hello")
    app, url, _ = demo.launch(
        auth=[("ann", "secret-a"), ("bob", "secret-b")], app_kwargs=app_kwargs(pipeline), ssr_mode=False,
        prevent_thread_lock=True, quiet=True, inbrowser=False,
    )  # fmt: skip
    yield Served(pipeline, app, httpx.URL(url).port)
    demo.close()
    pipeline.close()


def cookie(served: Served, name: str) -> str:
    """The Cookie header of somebody who has signed in."""
    response = httpx.post(
        f"http://127.0.0.1:{served.port}/login", data={"username": name, "password": f"secret-{name[0]}"}
    )
    assert response.status_code == 200
    return "; ".join(f"{key}={value}" for key, value in response.cookies.items())


@pytest.fixture(scope="module")
def ann(guarded: Served) -> dict[str, str]:
    return {"Cookie": cookie(guarded, "ann")}


@pytest.fixture(scope="module")
def bob(guarded: Served) -> dict[str, str]:
    return {"Cookie": cookie(guarded, "bob")}


@pytest.mark.parametrize("prefix", ["", PAGE])
@pytest.mark.parametrize("path", GUARDED)
def test_routes_want_a_sign_in(guarded: Served, ann: dict[str, str], path: str, prefix: str) -> None:
    for headers in ({}, {"Cookie": "access-token-x=guess"}):
        response = guarded.http.get(prefix + path, headers=headers)
        assert response.status_code == 401
        assert response.json()["detail"]["code"] == "sign_in"
    assert guarded.http.get(prefix + path, headers=ann).status_code in (200, 404)


@pytest.mark.parametrize("path", GUARDED)
def test_routes_do_not_answer_foreign_pages(guarded: Served, ann: dict[str, str], path: str) -> None:
    answer = guarded.http.get(path, headers=ann | {"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "https://evil.example" in answer.json()["detail"]["message"]


def test_health_is_open_to_load_balancers(guarded: Served) -> None:
    assert guarded.http.get("/api/health").status_code == 200


def assert_refused(person: Person, code: str = "sign_in") -> None:
    """It is told why, and by the close code not to try again: browsers do not see an answer to the handshake."""
    error, _ = person.receive()
    assert (error["status"], error["code"]) == ("error", code)
    with pytest.raises(ConnectionClosed):
        person.receive()
    assert person.socket.close_code == 1008


@pytest.mark.parametrize("prefix", ["", PAGE])
@pytest.mark.parametrize("path", SOCKETS)
def test_sockets_want_a_sign_in(guarded: Served, path: str, prefix: str) -> None:
    for headers in ({}, {"Cookie": "access-token-x=guess"}):
        with guarded.person(path=path, prefix=prefix, additional_headers=headers) as person:
            assert_refused(person)


@pytest.mark.parametrize("path", SOCKETS)
def test_sockets_do_not_open_for_foreign_pages(guarded: Served, ann: dict[str, str], path: str) -> None:
    """Browsers send the cookie along to a socket that any page opens."""
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{guarded.port + 1}"):
        with guarded.person(path=path, additional_headers=ann, origin=origin) as person:
            assert_refused(person, "foreign_page")


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_who_is_signed_in_is_served_from_our_page_and_from_programs(
    guarded: Served, ann: dict[str, str], mode: str
) -> None:
    for origin in (f"http://127.0.0.1:{guarded.port}", None):
        with guarded.person(mode, additional_headers=ann, origin=origin).greeted() as person:
            assert person.answer(RED)[1]
    guarded.wait_until_free()


@pytest.mark.parametrize("path", ["/api/canvas/stream/{id}", "/api/stream/{id}", PAGE + "/api/canvas/stream/{id}"])
def test_nobody_watches_anothers_stream(guarded: Served, ann: dict[str, str], bob: dict[str, str], path: str) -> None:
    """Not even with the right id; and it looks as if there were no such session."""
    with guarded.person("canvas", additional_headers=ann, user_id="anns").greeted() as person:
        person.answer(RED)
        refused = guarded.http.get(path.format(id="anns"), headers=bob)
        unknown = guarded.http.get(path.format(id="nobodys"), headers=bob)
        assert refused.status_code == unknown.status_code == 404
        assert refused.json()["code"] == unknown.json()["code"] == "no_session"
        with Watcher(guarded, path.format(id="anns"), **ann) as watcher:
            assert watcher.picture().shape == (64, 64, 3)
    guarded.wait_until_free()


def test_nobody_takes_over_anothers_id(guarded: Served, ann: dict[str, str], bob: dict[str, str]) -> None:
    with guarded.person("canvas", additional_headers=ann, user_id="anns").greeted() as first:
        with guarded.person("canvas", additional_headers=bob, user_id="anns") as second:
            error, _ = second.receive()
            assert error["code"] == "user_id_taken" and "'anns'" in error["message"]
        assert first.answer(RED)[1]
        with guarded.person("canvas", additional_headers=ann, user_id="anns").greeted() as again:
            assert again.answer(RED)[1]
    guarded.wait_until_free()


@pytest.mark.parametrize("origin", ["http://[::1", "http://[bad]:99999"])
def test_an_origin_that_is_no_address_is_foreign(guarded: Served, ann: dict[str, str], origin: str) -> None:
    assert guarded.http.get("/api/queue", headers=ann | {"Origin": origin}).status_code == 403


def test_an_operators_own_sign_in_guards_everything_too() -> None:
    """``auth_dependency``: a function of theirs, which may be a coroutine, says who asks."""

    async def who(request: Any) -> str | None:
        return request.headers.get("x-user")

    pipeline = Pipeline(tiny_settings(), tiny_catalog())
    with gr.Blocks() as demo:
        gr.Markdown("hello")
    app, url, _ = demo.launch(
        auth_dependency=who, app_kwargs=app_kwargs(pipeline), ssr_mode=False, prevent_thread_lock=True, quiet=True,
        inbrowser=False,
    )  # fmt: skip
    served = Served(pipeline, app, httpx.URL(url).port)
    for path in GUARDED:
        assert served.http.get(path).status_code == 401
    assert served.http.get("/api/queue", headers={"X-User": "ann"}).status_code == 200
    with Person(served, "canvas") as person:
        assert_refused(person)
    with served.person("canvas", additional_headers={"X-User": "ann"}, user_id="anns").greeted() as person:
        person.answer(RED)
        assert served.http.get("/api/canvas/stream/anns", headers={"X-User": "bob"}).status_code == 404
    demo.close()
    pipeline.close()


def test_after_signing_out_the_cookie_opens_nothing(guarded: Served) -> None:
    headers = {"Cookie": cookie(guarded, "bob")}
    assert guarded.http.get("/api/queue", headers=headers).status_code == 200
    guarded.http.get("/logout", headers=headers)
    assert guarded.http.get("/api/queue", headers=headers).status_code == 401
    with Person(guarded, "canvas", additional_headers=headers) as person:
        assert_refused(person)


def test_pictures_are_read_for_those_who_are_signed_in(guarded: Served) -> None:
    assert guarded.http.post("/api/picture", content=RED).status_code == 401
    signed_in = guarded.http.post("/api/picture", content=RED, headers={"cookie": cookie(guarded, "ann")})
    assert signed_in.status_code == 200
