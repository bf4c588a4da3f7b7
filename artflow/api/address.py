"""Where browsers see the app: proxies often name only the host that they forward to, no scheme and no folder."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from artflow.api.security import is_loopback

# How Gradio is told the address that the URLs of its answers begin with, where X-Forwarded-Host does not say it.
TOLD = b"x-gradio-server"


class PageAddress:
    """ASGI middleware: pages and their results work at whatever address a browser found the page.

    The page itself is told that it is where it is (``.``). What a page asks for later names the page as its referrer,
    and the URLs of results begin with that, where it has the host that was asked for, or where a proxy asked for its
    own upstream on this machine.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (address := _page_address(HTTPConnection(scope))) is not None:
            scope = {**scope, "headers": [*scope["headers"], (TOLD, address.encode("latin-1"))]}
        await self.app(scope, receive, send)


def _page_address(request: HTTPConnection) -> str | None:
    if request.scope["path"].removeprefix(request.scope.get("root_path", "")) in ("", "/"):
        return "."
    referrer = request.headers.get("referer", "")
    try:
        page, host = urlsplit(referrer), request.url.hostname
    except ValueError:
        return None
    if page.scheme not in ("http", "https") or not (page.hostname == host or is_loopback(host)):
        return None
    return f"{page.scheme}://{page.netloc}{page.path.rpartition('/')[0]}"
