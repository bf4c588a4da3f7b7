"""Access control: Gradio's sign-in protects only Gradio's routes, and browsers let any page open a socket."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from fastapi import HTTPException, Request
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from artflow.api.state import api_of
from artflow.errors import ArtflowError

PROXIES = ("forwarded", "via", "x-real-ip")  # headers that proxies add, beside X-Forwarded-...


async def signed_in_user(connection: HTTPConnection) -> str | None:
    """The signed-in user, by Gradio's ``auth`` or the operator's ``auth_dependency``; None if not signed in."""
    app = connection.app
    if getattr(app, "auth_dependency", None) is not None:
        try:
            user = app.auth_dependency(connection)
            return await user if inspect.isawaitable(user) else user
        except HTTPException:  # how some dependencies refuse
            return None
    for name in (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}"):
        token = connection.cookies.get(name)
        if token is not None and token in app.tokens:
            return app.tokens[token]
    return None


def needs_sign_in(connection: HTTPConnection) -> bool:
    """Whether the app was launched with ``auth`` or ``auth_dependency``."""
    return any(getattr(connection.app, way, None) is not None for way in ("auth", "auth_dependency"))


async def owner_of(connection: HTTPConnection) -> str | None:
    """The signed-in user, or None where the app has no accounts."""
    return await signed_in_user(connection) if needs_sign_in(connection) else None


async def refusal(connection: HTTPConnection, listed: Collection[str]) -> ArtflowError | None:
    """Why a connection is not accepted, None where it is: with accounts from signed-in users, from no `foreign_page`.

    ``listed`` are origins that the operator trusts.
    """
    if needs_sign_in(connection) and await signed_in_user(connection) is None:
        return ArtflowError("sign_in", "Sign in first, on this app's own page.")
    if (stranger := foreign_page(connection, listed)) is not None:
        sentence = f"Pages of {stranger} may not connect; {_setting_for(stranger)} allows them."
        return ArtflowError("foreign_page", sentence)
    return None


def foreign_page(connection: HTTPConnection, listed: Collection[str]) -> str | None:
    """The origin of a foreign page that connects to an app on localhost or with accounts; None for all other requests.

    Any page that the app's owner visits could otherwise use the app without their knowledge, and browsers send cookies
    with a socket opened by a foreign page.
    """
    origin = connection.headers.get("origin")
    if origin is None or _same_host(connection) or _plain(origin) in map(_plain, listed):
        return None
    if needs_sign_in(connection):
        return origin[:200]
    if is_loopback(_split(origin).hostname):
        return None
    # A page can choose the host name, so the client's address is checked, too.
    return origin[:200] if _is_nearby(connection) or is_loopback(_host(connection).hostname) else None


def foreign_host(connection: HTTPConnection, listed: Collection[str]) -> str | None:
    """The host name that a program on this machine asks for though it is not this machine's; None in all other cases.

    A page of any name can have its name point to 127.0.0.1 (DNS rebinding), and is then no foreign page to anybody.
    A number cannot be made to point elsewhere. What comes through a proxy is known by headers that no page can give
    a socket, a picture or a form; browsers themselves keep what scripts fetch from a page that changes its address.
    """
    host = _host(connection).hostname or ""
    if not _is_nearby(connection) or "host" not in connection.headers or is_loopback(host) or _is_number(host):
        return None
    app = connection.app
    own = [getattr(app, "root_path", ""), getattr(getattr(app, "blocks", None), "share_url", None) or "", *listed]
    return None if host in {_split(address).hostname for address in own} else host[:200]


class KnownHosts:
    """ASGI middleware: 421 for a `foreign_host`."""

    def __init__(self, app: ASGIApp, listed: Collection[str]) -> None:
        self.app, self.listed = app, listed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or (
            (host := foreign_host(HTTPConnection(scope), self.listed)) is None
        ):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            sentence = f"This app does not know itself as {host!r}; {_setting_for(f'http://{host}')} tells it."
            await JSONResponse(ArtflowError("foreign_host", sentence).as_json(), 421)(scope, receive, send)


def is_loopback(host: str | None) -> bool:
    """Whether a host name or an address is this machine's own."""
    name = (host or "").rstrip(".").lower()
    if _is_number(name):
        address = ip_address(name)
        return address.is_loopback or address.is_unspecified
    return name == "localhost" or name.endswith(".localhost")


def _is_number(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_nearby(connection: HTTPConnection) -> bool:
    """Whether a program of this machine connects that is no proxy: those say for whom they ask."""
    forwarded = any(name in PROXIES or name.startswith("x-forwarded-") for name in connection.headers)
    return connection.client is not None and is_loopback(connection.client.host) and not forwarded


def _same_host(connection: HTTPConnection) -> bool:
    """Whether the request comes from a page of the host that it goes to, or from no page."""
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    page = _split(origin)
    port = page.port or {"https": 443}.get(page.scheme, 80)
    hosts = _host(connection), _split(getattr(connection.app, "root_path", ""))
    # Where there is no port, a proxy may have left it out.
    return any(page.hostname == host.hostname is not None and host.port in (None, port) for host in hosts)


def _host(connection: HTTPConnection) -> SplitResult:
    """The host that the browser asked for, as far as it is known here, and its port where that is known."""
    forwarded = connection.headers.get("x-forwarded-host", "").split(",")[0].strip()
    return _split(f"//{forwarded or connection.headers.get('host', '')}")


def _split(address: str) -> SplitResult:
    """The parts of a URL; an invalid one has no host and so matches nothing."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _plain(origin: str) -> str:
    return origin.rstrip("/").lower()


def _setting_for(origin: str) -> str:
    return f"ARTFLOW_SERVER__ORIGINS='{json.dumps([origin])}'"


async def require_sign_in(request: Request) -> None:
    """FastAPI dependency: with accounts, 401 for who is not signed in and 403 for pages of other hosts."""
    if not needs_sign_in(request):
        return
    error = await refusal(request, api_of(request).pipeline.settings.server.origins)
    if error is not None:
        raise HTTPException(401 if error.code == "sign_in" else 403, detail=error.as_json())
