"""The network address of who asks."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address


def address_of(peer: str | None, headers: Mapping[str, str]) -> str:
    """The address of a client, or empty where a proxy on this machine or network does not tell it.

    ``peer`` is who connected. One of the internet is the client, whatever its headers say. A private one may be a
    proxy, so the last public address of its ``X-Forwarded-For`` counts: those before it are the client's own claim.
    An IPv6 client owns its whole /64.
    """
    direct = _parsed(peer or "")
    if direct is not None and direct.is_global:
        return _name(direct)
    forwarded = [_parsed(part.strip()) for part in headers.get("x-forwarded-for", "").split(",")]
    for address in reversed(forwarded):
        if address is not None and address.is_global:
            return _name(address)
    if direct is None or direct.is_loopback:
        return ""
    return _name(direct)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.rpartition("%")[0] or text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _name(address: IPv4Address | IPv6Address) -> str:
    return str(address) if address.version == 4 else ":".join(address.exploded.split(":")[:4])
