"""The live sockets: frames and settings in, pictures and recipes out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from artflow.api import framing
from artflow.api.channel import FLOOD, Channel, served
from artflow.api.client_address import address_of
from artflow.api.messages import Message, Reader, read_framed, read_three
from artflow.api.pool import Pool
from artflow.api.security import owner_of, refusal
from artflow.api.state import METRICS_EVERY, SMALL, Api, api_of
from artflow.errors import ArtflowError
from artflow.images import decode
from artflow.modes.schema import names, without_nulls

if TYPE_CHECKING:
    from artflow.engine.client import LiveStream
    from artflow.engine.stream_policy import Result
    from artflow.models.info import ModelInfo

log = logging.getLogger(__name__)
router = APIRouter()

POLICY = 1008  # close code: refused
TAKEN_OVER = (POLICY, "Another socket of yours has taken over this id.")


@router.websocket("/api/realtime/ws/{user_id}")
async def realtime(socket: WebSocket, user_id: str) -> None:
    """The webcam socket; with ``?results=1`` the pictures come back on it."""
    await serve(socket, "realtime", user_id, read_framed, results=socket.query_params.get("results") == "1")


@router.websocket("/api/canvas/ws/{user_id}")
async def canvas(socket: WebSocket, user_id: str) -> None:
    """The canvas socket; with ``?results=1`` the pictures come back on it."""
    await serve(socket, "canvas", user_id, read_framed, results=socket.query_params.get("results") == "1")


@router.websocket("/api/inpaint/ws/{user_id}")
async def inpaint(socket: WebSocket, user_id: str) -> None:
    """The live inpaint socket; transparent parts of a picture are replaced, and the whole picture is sent back."""
    await serve(socket, "inpaint", user_id, read_framed, results=socket.query_params.get("results") == "1")


@router.websocket("/api/ws/{user_id}")
async def legacy(socket: WebSocket, user_id: str, mode: str = "realtime") -> None:
    """The socket of the earlier servers: three messages a frame, pictures on the stream."""
    if mode not in ("realtime", "canvas"):
        await _refuse(socket, ArtflowError("bad_parameter", f"mode cannot be {mode!r}: realtime or canvas."))
        return
    await serve(socket, mode, user_id, read_three, results=False, legacy=True)


async def serve(
    socket: WebSocket,
    mode: str,
    user_id: str,
    read: Reader,
    *,
    results: bool,
    legacy: bool = False,
) -> None:
    """One connection from its first byte to its last; whatever it held is free when this returns."""
    api = api_of(socket)
    limits = api.pipeline.settings.server
    if (refused := await refusal(socket, limits.origins)) is not None:
        await _refuse(socket, refused)
        return
    address = address_of(socket.client.host if socket.client else None, socket.headers)
    channel = Channel(await owner_of(socket), address, results, legacy)
    try:
        await api.claim(mode, user_id, channel)
    except ArtflowError as error:
        await _refuse(socket, error)
        return
    try:
        await socket.accept()
        model = await _loaded(api, socket, channel, mode)
        async with asyncio.timeout(limits.timeout or None):
            channel.session = api.pipeline.live.open(mode, model, {}, channel.arrived, channel.begun)
            channel.mode = mode
            flooded = await _talk(api, socket, channel, read, legacy)
        if flooded:
            flood = f"{FLOOD} messages in a row could not be used; the last error says why."
            await _say(socket, ArtflowError("flood", flood).as_json())
            await socket.close(POLICY, flood)
    except TimeoutError:
        await _say(socket, {"status": "timeout", "message": f"Your {limits.timeout:g} seconds are over."})
    except ArtflowError as error:
        await _say(socket, error.as_json())
    except WebSocketDisconnect:
        pass
    except RuntimeError:  # what Starlette raises for a send after the end, among others
        if not _is_gone(socket):
            raise
    finally:
        channel.close()
        api.release(mode, user_id)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # closed from the other side already
            # Not before the release: where a network was cut, nothing that is said goes out.
            await socket.close(*(TAKEN_OVER if channel.taken_over.is_set() else ()))


async def _loaded(api: Api, socket: WebSocket, channel: Channel, mode: str) -> ModelInfo:
    """Wait for the models that the mode needs, and send their loading progress; the first is the one it starts with."""
    handles = api.pipeline.live.load_for(mode)
    while (loading := next((handle for handle in handles if not handle.info.done()), None)) is not None:
        if channel.taken_over.is_set():
            raise WebSocketDisconnect(*TAKEN_OVER)
        await socket.send_json({"status": "loading", "message": loading.message, "progress": loading.fraction})
        await asyncio.sleep(0.2)
    return handles[0].info.result()


async def _talk(api: Api, socket: WebSocket, channel: Channel, read: Reader, legacy: bool) -> bool:
    """Serve the session until one side ends it; whether that was for a flood of messages of no use."""
    session = channel.session
    assert session is not None
    # A stream of n steps holds n - 1 frames in its pipeline, which must not take all places.
    most = api.pipeline.settings.server.max_in_flight + session.greatest_depth - 1
    if legacy and not session.policy.latest_only:
        most = 1
    channel.start(session, most)
    channel.send({"status": "connected", "max_in_flight": most} | served(session))
    channel.requests.refill()
    parts = [
        _receive(socket, channel, read, legacy),
        _hand_in(api, channel, session, legacy),
        _answer(api, channel, session),
        _send(socket, channel),
        channel.lost_to_another(),
    ]
    if channel.results:
        parts.append(_report(api, channel, session))
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
    return True in ends


def _is_gone(socket: WebSocket) -> bool:
    """Whether the client has left; what is raised then is Starlette's way of saying so."""
    return WebSocketState.DISCONNECTED in (socket.client_state, socket.application_state)


async def _receive(socket: WebSocket, channel: Channel, read: Reader, legacy: bool) -> bool:
    """Read messages until they are a flood of no use."""
    requests = channel.requests
    while True:
        await channel.places.acquire()
        try:
            message = await read(socket)
            message.check_number()
        except ArtflowError as error:
            asked = requests.asked > 0
            requests.used()
            if channel.refuse(error):
                return True
        else:
            asked = requests.asked > 0 and bool(message.picture or legacy)
            if message.picture or legacy:  # the earlier front ends send an empty picture while their camera starts
                message.request = requests.used()
            channel.take_in(message)
        if not asked:
            await channel.hold_back()


async def _hand_in(api: Api, channel: Channel, session: LiveStream, legacy: bool) -> bool:
    """Hand messages to the session until they are a flood of no use."""
    while True:
        await channel.message_due()
        pool = api.large if channel.large else api.pool
        async with pool.turn(out=False):
            message = channel.next_message()
            used = await _tried(pool, api, channel, message, legacy)
        if pool is api.pool and used.error is not None and used.error.code == "picture_too_large":
            try:
                api.check_large(channel)
            except ArtflowError as error:
                used = Used(error=error)
            else:
                async with api.large.turn(out=False):
                    used = await _tried(api.large, api, channel, message, legacy)
                channel.large = False  # one that cannot be used takes no place from others
        if used.pixels:
            channel.large = used.pixels > SMALL
        if used.error is None:
            channel.handed_in(message, used.repeats)
            if legacy and message.left_out is not None:
                channel.send(channel.fault(message.left_out))
            elif legacy and message.picture:
                channel.send({"status": "wait"})
        elif channel.refuse(used.error, message):
            return True


class Used(NamedTuple):
    """What became of a message: the pixels of its picture, whether the last frame is answered once more, or why not."""

    pixels: int = 0
    repeats: bool = False
    error: ArtflowError | None = None


async def _tried(pool: Pool, api: Api, channel: Channel, message: Message, legacy: bool) -> Used:
    """Use a message, in the turn of a pool. Only the one for large pictures takes those over `SMALL` pixels."""
    limits, session = api.pipeline.settings.server, channel.session
    assert session is not None
    # What is edited comes back whole, so it may be as large as an upload; of a frame the model sees its own size.
    most = limits.max_inpaint_pixels if session.policy.keep_alpha else limits.max_frame_pixels
    try:
        return await pool.run(
            _use, api, channel, session, message, legacy, most if pool is api.large else min(most, SMALL)
        )
    except ArtflowError as refused:
        return Used(error=refused)
    except Exception as failed:
        log.exception("a message failed")
        return Used(error=ArtflowError("bad_message", f"This message cannot be used: {type(failed).__name__}."))


def _use(api: Api, channel: Channel, session: LiveStream, message: Message, legacy: bool, most: int) -> Used:
    """Give the session a message, whose picture has at most so many pixels. Runs in a thread.

    Settings that are refused are the answer to their message; they cost no other settings. The earlier front ends
    send all settings with every frame, as they stand in their fields: with them they do not cost the frame, either.
    """
    settings, picture = message.settings, None
    if legacy:
        settings = without_nulls(type(session.params), settings)
    if message.picture:
        most_bytes = api.pipeline.settings.server.max_frame_bytes
        keep_alpha = session.policy.keep_alpha
        picture = decode(message.picture, max_pixels=most, max_bytes=most_bytes, keep_alpha=keep_alpha)
    before = session.params
    try:
        _change(api, channel, session, settings)
    except ArtflowError as error:
        for name in settings.keys() & names(type(before)):
            with contextlib.suppress(ArtflowError):
                _change(api, channel, session, {name: settings[name]})
        if not legacy:
            raise
        message.left_out = error
    if picture is not None:
        session.submit(picture, message.number, message.received)
        return Used(picture.shape[0] * picture.shape[1])
    # Settings alone: the next frame of a camera shows them; a drawing stays as it is, so it is answered once more.
    alone = not message.replaced and not session.policy.pipelined
    return Used(repeats=alone and session.params != before and session.repeat())


def _change(api: Api, channel: Channel, session: LiveStream, settings: dict[str, Any]) -> None:
    if settings:
        api.pipeline.live.change(channel.mode, session, settings, channel.moved)


async def _answer(api: Api, channel: Channel, session: LiveStream) -> None:
    """Make answers of results, in their order."""
    while True:
        result, came = await channel.fates.get()
        answer: dict[str, Any] | bytes | None = None
        then: Callable[[], None] | None = partial(
            channel.answered, picture=channel.results and result.picture is not None
        )
        try:
            if result.error is not None:
                raise result.error
            if channel.results and not result.again:  # a client takes one answer a frame
                answer = await _packed(api, channel, session, result, came)
        except ArtflowError as error:
            answer = channel.fault(error) | {"frame": result.frame}
            # A drawing comes back by itself: the answer of its frame is that of its repetition.
            lost = error.code == "engine_stopped" and result.frame == session.newest
            if lost and await _comes_back(api, channel, session):
                answer, then = channel.fault(error), None
        channel.send(answer, then)


async def _comes_back(api: Api, channel: Channel, session: LiveStream) -> bool:
    """Whether the last picture of a drawing is answered once more, by an engine that is being started again."""
    if not api.pipeline.healthy:  # it never will be, so the repetition would end just as this one, and so on
        return False
    try:
        return await (api.large if channel.large else api.pool).run(session.repeat)
    except ArtflowError:  # settings that have come since do not go with the picture; their message was answered so
        return False


async def _packed(api: Api, channel: Channel, session: LiveStream, result: Result, came: float) -> bytes:
    header: dict[str, Any] = {"frame": result.frame, "skipped": result.skipped, "dropped": result.dropped}
    jpeg = b""
    if result.picture is not None and result.recipe is not None:
        jpeg = await api.jpeg(channel, result, session.params.jpeg_quality)
        session.delivered(time.monotonic() - came)
        header |= {"seed": result.recipe["seed"], "recipe": result.recipe}
    latency = result.latency + time.monotonic() - came
    return framing.pack(header | {"latency_ms": round(latency * 1000, 1)}, jpeg)


async def _send(socket: WebSocket, channel: Channel) -> None:
    while True:
        item = await channel.outbox.get()
        if isinstance(item.data, bytes):
            await socket.send_bytes(item.data)
        elif item.data is not None:
            await socket.send_json(item.data)
        if item.then is not None:
            item.then()


async def _report(api: Api, channel: Channel, session: LiveStream) -> None:
    """The live numbers, once a second."""
    while True:
        if channel.outbox.empty():  # a client that does not read gets no heap of old numbers
            channel.send(
                {"status": "stats", "waiting": session.waiting, "stage": session.stage}
                | session.metrics.snapshot()
                | {name: api.metrics[name] for name in ("sessions", "gpu_memory_mb")}
            )
            if (load := session.waits_for) is not None:
                channel.send({"status": "switching", "message": load.message, "progress": load.fraction})
        await asyncio.sleep(METRICS_EVERY)


async def _refuse(socket: WebSocket, error: ArtflowError) -> None:
    await socket.accept()
    await _say(socket, error.as_json())
    await socket.close(POLICY)


async def _say(socket: WebSocket, message: dict[str, Any]) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # nobody is there to hear it
        await socket.send_json(message)
