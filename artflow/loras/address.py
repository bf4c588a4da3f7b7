"""Which addresses are asked for files: public ones, by https. The operator's own Hub (``HF_ENDPOINT``) is another.

People may name any URL, and servers may send on to any. So every connection is checked where it is opened, by the
address that the name has at that moment: a name that leads elsewhere a second later (DNS rebinding) is of no use.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import httpcore
import httpx
from huggingface_hub import HfApi, constants, errors

from artflow.errors import ArtflowError
from artflow.loras.library import SUFFIX, safe_filename
from artflow.models.catalog import HUB_ID
from artflow.models.weights import is_unsafe, unsafe

LONGEST = 2_000  # characters of a URL
USUAL = "pytorch_lora_weights.safetensors"
ON_HUB = re.compile(r"/([\w.-]+/[\w.-]+)/(?:resolve|blob)/([^/]+)/(.+)")
TIMEOUT = 10.0
CARRIERS = [ip_network(one) for one in ("64:ff9b::/96", "2002::/16", "fec0::/10", "::/96")]
"""IPv6 that may lead to a private IPv4 address (NAT64, 6to4, IPv4-compatible), and the old site-local addresses."""


@dataclass(frozen=True)
class Entry:
    """A file that somebody wants to have: its URL, and what it is to be called in the folder."""

    url: str
    filename: str

    @property
    def on_hub(self) -> bool:
        """Whether it is asked of the operator's Hub."""
        return self.url.startswith(f"{constants.ENDPOINT.rstrip('/')}/")


def find(text: str, name: str = "") -> Entry:
    """What somebody means by a URL, a Hub id (``owner/name``), or a Hub id and a file in it. May ask the Hub.

    ``name`` is what to call it, where its file's own name will not do.

    Raises:
        ArtflowError: ``bad_address``, ``unsafe_weights``, ``bad_name``, ``download_failed`` by the Hub.
    """
    text, name = text.strip(), name.strip().removesuffix(SUFFIX)
    given = safe_filename(name + SUFFIX) if name else ""
    if "://" in text:
        check(text)
        path = unquote(urlsplit(text).path)
        if (match := ON_HUB.fullmatch(path)) and text.startswith(("https://huggingface.co/", constants.ENDPOINT)):
            return _on_hub(match[1], match[3], given, match[2])
        if is_unsafe(path):
            raise unsafe(path.rsplit("/", 1)[-1])
        if not given and not path.endswith(SUFFIX):
            raise ArtflowError("bad_name", f"That address names no {SUFFIX} file; give a name for it, too.")
        return Entry(text, given or safe_filename(path))
    parts = text.split("/", 2)
    repo = "/".join(parts[:2])
    if not HUB_ID.fullmatch(repo):
        sentence = f"{text[:80]!r} is no address: give https://..., a Hub id such as owner/name, or owner/name/file."
        raise ArtflowError("bad_address", sentence)
    return _on_hub(repo, parts[2] if len(parts) > 2 else _only_file(repo), given)


def check(url: str) -> None:
    """Refuse what is not asked at all, whatever its name leads to: see `Transport` for the rest.

    Raises:
        ArtflowError: ``bad_address``.
    """
    shown = repr(url[:120])
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ArtflowError("bad_address", f"{shown} is no address.") from None
    if not host or len(url) > LONGEST or parts.username or parts.password or not url.isprintable() or " " in url:
        raise ArtflowError("bad_address", f"{shown} is no address that can be used: a plain https://host/file is.")
    if _is_own_hub(host, port or _port(parts.scheme)):
        return
    if parts.scheme != "https":
        raise ArtflowError("bad_address", f"{shown} begins with {parts.scheme}://; only https:// is allowed.")
    if _is_number(host) and not is_public(host):
        raise ArtflowError("bad_address", f"{shown} is in a private network; only public addresses are allowed.")


def client(*, own: bool, stall: float) -> httpx.AsyncClient:
    """An HTTP client that follows redirects to allowed addresses alone.

    ``own``: for URLs that people gave; it goes through no proxy, which would look names up by itself. ``stall`` is how
    many seconds a server may be silent.
    """

    async def checked(request: httpx.Request) -> None:
        check(str(request.url))

    proxied = not own and bool({"https", "all"} & getproxies().keys())
    return httpx.AsyncClient(
        transport=None if proxied else Transport(),
        timeout=httpx.Timeout(stall, connect=min(stall, TIMEOUT)),
        headers={"Accept-Encoding": "identity", "User-Agent": "artflow"},
        event_hooks={"request": [checked]},
        follow_redirects=True,
        max_redirects=8,
    )


class Transport(httpx.AsyncHTTPTransport):
    """Connects to public addresses alone, and to the operator's own Hub."""

    def __init__(self) -> None:
        super().__init__(verify=_certificates())
        self._pool = httpcore.AsyncConnectionPool(ssl_context=_certificates(), network_backend=_Public())


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _Public(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if not _is_own_hub(host, port):
            host = await _public_address(host, port)
        return await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _public_address(host: str, port: int) -> str:
    """The address that a name has now.

    Raises:
        ArtflowError: ``bad_address`` where it has one of a private network, beside others, too.
        httpcore.ConnectError: where it has none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    addresses: Sequence[str] = [str(one[4][0]) for one in found]
    for address in addresses:
        if not is_public(address):
            sentence = f"{host[:100]} leads into a private network; only public addresses are allowed."
            raise ArtflowError("bad_address", sentence)
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, whatever other address it may carry."""
    plain = ip_address(address.partition("%")[0])
    plain = getattr(plain, "ipv4_mapped", None) or plain
    return plain.is_global and not plain.is_multicast and not any(plain in network for network in CARRIERS)


def _is_own_hub(host: str, port: int | None) -> bool:
    """Whether this is where the operator has set ``HF_ENDPOINT`` to."""
    hub = urlsplit(constants.ENDPOINT)
    return (host, port) == (hub.hostname, hub.port or _port(hub.scheme))


def _port(scheme: str) -> int | None:
    return {"https": 443, "http": 80}.get(scheme)


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _on_hub(repo: str, file: str, given: str, revision: str = "main") -> Entry:
    if is_unsafe(file):
        raise unsafe(f"{repo}/{file}")
    # Many repositories call the file the same.
    own = f"{repo.rsplit('/', 1)[-1]}{SUFFIX}" if file.rsplit("/", 1)[-1] == USUAL else file
    url = httpx.URL(f"{constants.ENDPOINT.rstrip('/')}/{repo}/resolve/{revision}/{file}")
    return Entry(str(url), given or safe_filename(own))


def _only_file(repo: str) -> str:
    """The one LoRA of a repository on the Hub.

    Raises:
        ArtflowError: ``download_failed``, ``unsafe_weights``, ``bad_address`` where there are several.
    """
    try:
        info = HfApi(endpoint=constants.ENDPOINT, token=False).model_info(repo, timeout=TIMEOUT)
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        sentence = f"{repo} could not be found on {constants.ENDPOINT} ({type(error).__name__})."
        raise ArtflowError("download_failed", sentence) from error
    names = [one.rfilename for one in info.siblings or []]
    found = [name for name in names if name.endswith(SUFFIX) and "/" not in name]
    if USUAL in found or len(found) == 1:
        return USUAL if USUAL in found else found[0]
    if found:
        sentence = f"{repo} has several files: {', '.join(found[:8])}. Add the one that you mean: {repo}/{found[0]}."
        raise ArtflowError("bad_address", sentence)
    if pickled := [name for name in names if is_unsafe(name)]:
        raise unsafe(f"{repo}/{pickled[0]}")
    raise ArtflowError("bad_address", f"{repo} has no {SUFFIX} file.")
