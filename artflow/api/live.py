"""The live sockets: frames and settings in, pictures and recipes out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from artflow.api import framing
from artflow.api.channel import Api, Channel, Note, api_of
from artflow.api.security import foreign_page, may_connect, owner_of
from artflow.errors import ArtflowError
from artflow.images import decode
from artflow.modes.schema import names

if TYPE_CHECKING:
    from artflow.engine.client import LiveStream
    from artflow.engine.stream_policy import Result
    from artflow.models.info import ModelInfo

log = logging.getLogger(__name__)
router = APIRouter()

ENVELOPE = {"status", "frame"}  # keys of a message that are not parameters
STATS_EVERY = 1.0
POLICY = 1008  # close code: refused

T = TypeVar("T", str, bytes)
Message = tuple[dict[str, Any], bytes]
Reader = Callable[[WebSocket], Awaitable[Message]]


@router.websocket("/api/realtime/ws/{user_id}")
async def realtime(socket: WebSocket, user_id: str) -> None:
    """The webcam socket; with ``?results=1`` the pictures come back on it."""
    await serve(socket, "realtime", user_id, _read_framed, results=socket.query_params.get("results") == "1")


@router.websocket("/api/canvas/ws/{user_id}")
async def canvas(socket: WebSocket, user_id: str) -> None:
    """The canvas socket; with ``?results=1`` the pictures come back on it."""
    await serve(socket, "canvas", user_id, _read_framed, results=socket.query_params.get("results") == "1")


@router.websocket("/api/inpaint/ws/{user_id}")
async def inpaint(socket: WebSocket, user_id: str) -> None:
    """The live inpaint socket; transparent parts of a picture are replaced, and the whole picture is sent back."""
    await serve(socket, "inpaint", user_id, _read_framed, results=socket.query_params.get("results") == "1")


@router.websocket("/api/ws/{user_id}")
async def legacy(socket: WebSocket, user_id: str, mode: str = "realtime") -> None:
    """The socket of the earlier servers: three messages a frame, pictures on the stream."""
    if mode not in ("realtime", "canvas"):
        await _refuse(socket, ArtflowError("bad_parameter", f"mode cannot be {mode!r}: realtime or canvas."))
        return
    await serve(socket, mode, user_id, _read_three, results=False, one_by_one=True)


async def _read_framed(socket: WebSocket) -> Message:
    data = await _received(socket)
    if isinstance(data, str):
        raise ArtflowError("bad_message", "This was a text message; send one binary message a frame.")
    header, picture = framing.unpack(data)
    if header.get("status", "next_frame") != "next_frame":
        raise _bad_status(header)
    return header, picture


async def _read_three(socket: WebSocket) -> Message:
    """``{"status": "next_frame"}``, the settings, and the picture's bytes (which may be none)."""
    first = framing.parse(_expect(str, await _received(socket)))
    if first.get("status") != "next_frame":
        raise _bad_status(first)
    # Both are read before either is checked, so that after an error the next message begins a new frame.
    settings, picture = await _received(socket), await _received(socket)
    return framing.parse(_expect(str, settings)), _expect(bytes, picture)


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


async def serve(
    socket: WebSocket,
    mode: str,
    user_id: str,
    read: Reader,
    *,
    results: bool,
    one_by_one: bool = False,
) -> None:
    """Serve one connection until it ends; everything it held is released then."""
    if not await may_connect(socket):
        await _refuse(socket, ArtflowError("sign_in", "Sign in first, on this app's own page."))
        return
    api = api_of(socket)
    limits = api.pipeline.settings.server
    if (stranger := foreign_page(socket)) is not None and stranger not in limits.origins:
        sentence = f"Pages of {stranger} may not connect; ARTFLOW_SERVER__ORIGINS lists those that may."
        await _refuse(socket, ArtflowError("foreign_page", sentence))
        return
    channel = Channel(await owner_of(socket), 1 if one_by_one else limits.max_in_flight, results)
    try:
        api.claim(mode, user_id, channel)
    except ArtflowError as error:
        await _refuse(socket, error)
        return
    try:
        await socket.accept()
        model = await _loaded(api, socket)
        async with asyncio.timeout(limits.timeout or None):
            channel.session = api.pipeline.open(mode, model, {}, channel.arrived)
            await _talk(api, socket, channel, read, one_by_one)
    except TimeoutError:
        await _say(socket, {"status": "timeout", "message": f"Your {limits.timeout:g} seconds are over."})
    except ArtflowError as error:
        await _say(socket, error.as_json())
    except WebSocketDisconnect:
        pass
    except RuntimeError:  # Starlette raises it for a send after the end
        if not _is_gone(socket):
            raise
    finally:
        channel.close()
        api.release(mode, user_id)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed by the client already
            await socket.close()


async def _loaded(api: Api, socket: WebSocket) -> ModelInfo:
    """Wait for the model and send its loading progress."""
    loading = api.pipeline.load()
    while not loading.info.done():
        await socket.send_json({"status": "loading", "message": loading.message, "progress": loading.fraction})
        await asyncio.sleep(0.2)
    return loading.info.result()


async def _talk(api: Api, socket: WebSocket, channel: Channel, read: Reader, one_by_one: bool) -> None:
    session = channel.session
    assert session is not None
    # A stream of n steps holds n - 1 frames in its pipeline, which must not take all places.
    inside = session.greatest_depth - 1
    channel.free(inside)
    places = 1 if one_by_one else api.pipeline.settings.server.max_in_flight + inside
    size = {"width": session.params.width, "height": session.params.height}
    channel.say({"status": "connected", "max_in_flight": places} | size)
    for _ in range(places):
        channel.ask()
    parts = [_receive(api, socket, channel, read, one_by_one), _send(api, socket, channel, one_by_one)]
    if channel.results:
        parts.append(_report(api, channel))
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    # Logged and not raised: a traceback through this frame would make a reference cycle with the tasks and keep the
    # session alive until garbage collection.
    for end in ends:
        if isinstance(end, Exception) and not _is_gone(socket):
            log.error("a live socket failed", exc_info=end)


def _is_gone(socket: WebSocket) -> bool:
    """Whether the client has disconnected; Starlette raises various errors then."""
    return WebSocketState.DISCONNECTED in (socket.client_state, socket.application_state)


async def _receive(api: Api, socket: WebSocket, channel: Channel, read: Reader, one_by_one: bool) -> None:
    """Receive messages. Each takes a place, which is released with its answer: a result, an error, or nothing."""
    session = channel.session
    assert session is not None
    while True:
        await channel.occupy()
        try:
            header, data = await read(socket)
        except ArtflowError as error:
            channel.asked -= 1
            channel.answer(error.as_json())
            continue
        channel.asked -= 1
        channel.under_way += 1
        taken = False
        number = {"frame": header["frame"]} if _is_number(header.get("frame")) else {}
        try:
            taken = await api.in_thread(partial(_take, api, channel, header, data))
        except ArtflowError as error:
            channel.answer(error.as_json() | number)
        except Exception as error:
            log.exception("a message failed")
            wrong = ArtflowError("bad_message", f"This message cannot be used: {type(error).__name__}.")
            channel.answer(wrong.as_json() | number)
        else:
            if not taken:
                channel.answer(None)
            elif one_by_one and channel.asked <= 0 and channel.under_way < session.depth:
                channel.ask()  # a pipelined frame needs more frames after it
            elif one_by_one:
                channel.say({"status": "wait"})
        channel.under_way -= not taken


def _is_number(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**53  # exact in JavaScript; not a bool


def _take(api: Api, channel: Channel, header: dict[str, Any], data: bytes) -> bool:
    """Pass a message to the session; returns whether a frame will answer it. Runs in a thread.

    Refused settings raise; the valid ones of the same message are applied nevertheless.
    """
    limits, session = api.pipeline.settings.server, channel.session
    if session is None:
        raise ArtflowError("session_closed", "This session has ended; connect again.")
    number = header.get("frame")
    if number is not None and not _is_number(number):
        raise ArtflowError("bad_parameter", f"frame cannot be {str(number)[:80]!r}: a whole number from 0.")
    most = {"max_pixels": limits.max_pixels, "max_bytes": limits.max_frame_bytes}
    picture = decode(data, **most, keep_alpha=session.policy.keep_alpha) if data else None
    changes = {name: value for name, value in header.items() if name not in ENVELOPE}
    before = session.params
    try:
        _use(api, session, changes)
    except ArtflowError:
        for name in changes.keys() & names(type(before)):
            with contextlib.suppress(ArtflowError):
                _use(api, session, {name: changes[name]})
        raise
    changed = session.params != before
    if picture is not None:
        session.submit(picture, number)
        return True
    # Settings alone: a camera's next frame uses them; a drawing has no next frame, so its last one is rendered again.
    return changed and not session.policy.pipelined and session.repeat()


def _use(api: Api, session: LiveStream, changes: dict[str, Any]) -> None:
    params = api.pipeline.parameters.changed(session.params, changes)
    if params != session.params:
        session.update(params)


async def _send(api: Api, socket: WebSocket, channel: Channel, one_by_one: bool) -> None:
    while True:
        item = await channel.outbox.get()
        if isinstance(item, Note):
            if item.message is not None:
                await socket.send_json(item.message)
            if not item.frees:
                continue
        else:
            try:
                if item.error is not None:
                    raise item.error
                if channel.results:
                    await socket.send_bytes(await _answer(api, channel, item))
            except ArtflowError as error:
                await socket.send_json(error.as_json() | {"frame": item.frame})
            channel.under_way -= 1
        channel.free()
        if not one_by_one or channel.asked <= 0:
            channel.asked += 1
            await socket.send_json({"status": "send_frame"})


async def _answer(api: Api, channel: Channel, result: Result) -> bytes:
    header: dict[str, Any] = {
        "frame": result.frame,
        "latency_ms": round(result.latency * 1000, 1),
        "skipped": result.skipped,
        "dropped": result.dropped,
    }
    if result.picture is None or result.recipe is None:
        return framing.pack(header)
    header |= {"seed": result.recipe["seed"], "recipe": result.recipe}
    assert channel.session is not None
    return framing.pack(header, await api.jpeg(channel, result, channel.session.params.jpeg_quality))


async def _report(api: Api, channel: Channel) -> None:
    """The live numbers, once a second."""
    session = channel.session
    assert session is not None
    while True:
        if channel.outbox.empty():  # else numbers pile up for a client that does not read
            app = api.pipeline.numbers()
            channel.say(
                {"status": "stats", "waiting": session.waiting, "stage": session.stage}
                | session.numbers.snapshot()
                | {name: app[name] for name in ("sessions", "gpu_memory_mb")}
            )
        await asyncio.sleep(STATS_EVERY)


async def _refuse(socket: WebSocket, error: ArtflowError) -> None:
    await socket.accept()
    await _say(socket, error.as_json())
    await socket.close(POLICY)


async def _say(socket: WebSocket, message: dict[str, Any]) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the client is gone
        await socket.send_json(message)
