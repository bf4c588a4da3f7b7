"""What clients send on the live sockets: one binary message a frame, or the three of the earlier servers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import WebSocket, WebSocketDisconnect

from artflow.api import framing
from artflow.api.requests import Request
from artflow.errors import ArtflowError

T = TypeVar("T", str, bytes)

ENVELOPE = {"status", "frame"}  # keys of a message that are no settings
MAX_NUMBER = 2**53 - 1  # what JavaScript can count to


@dataclass
class Message:
    """One message: settings, and mostly a picture.

    ``number`` is the frame's, ``request`` what it answers. ``replaced``: a newer picture came before this one was
    decoded; its settings still count. ``left_out``: why some settings did not, where the frame is drawn all the same.
    """

    header: dict[str, Any]
    picture: bytes
    received: float = field(default_factory=time.monotonic)
    number: int | None = None
    request: Request | None = None
    replaced: bool = False
    left_out: ArtflowError | None = None

    @property
    def stands_for_frame(self) -> bool:
        """Whether it uses a request: the earlier front ends answer one without a picture while their camera starts."""
        return bool(self.picture) or self.request is not None

    @property
    def settings(self) -> dict[str, Any]:
        """What it changes."""
        return {name: value for name, value in self.header.items() if name not in ENVELOPE}

    @property
    def chosen_number(self) -> int | None:
        """The frame's number where the client gave one that can be used."""
        number = self.header.get("frame")
        return number if type(number) is int and 0 <= number <= MAX_NUMBER else None  # a boolean is no number

    def check_number(self) -> None:
        """Refuse what is no number of a frame.

        Raises:
            ArtflowError: ``bad_parameter``.
        """
        number = self.header.get("frame")
        if number is not None and self.chosen_number is None:
            raise ArtflowError("bad_parameter", f"frame cannot be {str(number)[:80]!r}: a whole number from 0.")


Reader = Callable[[WebSocket], Awaitable[Message]]


async def read_framed(socket: WebSocket) -> Message:
    """The next message of 4 bytes length, JSON and picture.

    Raises:
        ArtflowError: ``bad_message``, ``message_too_large``.
        WebSocketDisconnect: where there is none.
    """
    data = await _received(socket)
    if isinstance(data, str):
        raise ArtflowError("bad_message", "This was a text message; send one binary message a frame.")
    header, picture = framing.unpack(data)
    if header.get("status", "next_frame") != "next_frame":
        raise _bad_status(header)
    return Message(header, picture)


async def read_three(socket: WebSocket) -> Message:
    """``{"status": "next_frame"}``, the settings, and the picture's bytes (which may be none); raises likewise."""
    first = framing.parse(_expect(str, await _received(socket)))
    if first.get("status") != "next_frame":
        raise _bad_status(first)
    # Both are taken before either is judged: after a mistake in one, the next message begins a frame again.
    settings, picture = await _received(socket), await _received(socket)
    return Message(framing.parse(_expect(str, settings)), _expect(bytes, picture))


async def _received(socket: WebSocket) -> bytes | str:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    data = message.get("bytes")
    return data if data is not None else message["text"]


def _expect(kind: type[T], data: bytes | str) -> T:
    if not isinstance(data, kind):
        names = {str: "text", bytes: "binary"}
        raise ArtflowError("bad_message", f"This was a {names[type(data)]} message; {names[kind]} comes here.")
    return data


def _bad_status(header: dict[str, Any]) -> ArtflowError:
    return ArtflowError("bad_message", f"status is {str(header.get('status'))[:80]!r}; it must be 'next_frame'.")
