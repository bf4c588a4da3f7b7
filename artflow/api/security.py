"""Access control: Gradio's sign-in protects only Gradio's routes, and browsers let any page open a socket."""

from __future__ import annotations

import inspect
import os
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from fastapi import HTTPException, Request
from starlette.requests import HTTPConnection


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


async def may_connect(connection: HTTPConnection) -> bool:
    """Whether to accept a connection: without accounts always, else from signed-in users on a page of this host.

    The page's host is checked because a browser sends cookies with a socket opened by a foreign page.
    """
    if not needs_sign_in(connection):
        return True
    return await signed_in_user(connection) is not None and _same_host(connection)


def foreign_page(connection: HTTPConnection) -> str | None:
    """The origin of a foreign page that connects to an app on localhost; None for all other requests.

    Any page that the app's owner visits could otherwise use the app without their knowledge.
    """
    origin = connection.headers.get("origin")
    if origin is None or _same_host(connection) or _is_loopback(_split(origin).hostname):
        return None
    # A page can choose the host name, so the client's address is checked, too. Proxies send their own headers.
    forwarded = any(f"x-forwarded-{what}" in connection.headers for what in ("for", "host"))
    nearby = connection.client is not None and _is_loopback(connection.client.host) and not forwarded
    return origin[:200] if nearby or _is_loopback(connection.url.hostname) else None


def _is_loopback(host: str | None) -> bool:
    name = (host or "").rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _same_host(connection: HTTPConnection) -> bool:
    origin = connection.headers.get("origin")
    if origin is None:  # not a browser
        return True
    page, public = _split(origin), _split(os.environ.get("GRADIO_ROOT_PATH", ""))
    forwarded = connection.headers.get("x-forwarded-host", "").split(",")[0].strip()
    if forwarded and ":" not in forwarded and page.hostname == forwarded:  # some proxies omit the port
        return True
    return page.netloc in {forwarded or connection.headers.get("host"), public.netloc or None}


def _split(address: str) -> SplitResult:
    """The parts of a URL; an invalid one has no host and so matches nothing."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


async def require_sign_in(request: Request) -> None:
    """FastAPI dependency: 401 unless `may_connect`."""
    if not await may_connect(request):
        raise HTTPException(401, detail={"status": "error", "code": "sign_in", "message": "Sign in first."})
