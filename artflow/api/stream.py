"""A session's pictures as an endless multipart response, which an ``<img>`` shows as video."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from artflow.api.channel import Channel
from artflow.api.security import owner_of, require_sign_in
from artflow.api.state import Api, api_of
from artflow.errors import ArtflowError
from artflow.settings import SLOWEST

router = APIRouter(dependencies=[Depends(require_sign_in)])

Quality = Annotated[int, Query(ge=1, le=100)]
MaxFps = Annotated[float, Query(ge=SLOWEST, le=240)]


@router.get("/api/stream/{user_id}")
async def legacy(request: Request, user_id: str, quality: Quality = 85, max_fps: MaxFps = 30) -> StreamingResponse:
    """The pictures of an open socket of either mode, where the earlier servers had them."""
    mode = "canvas" if api_of(request).is_open("canvas", user_id) else "realtime"
    return await _response(request, mode, user_id, quality, max_fps)


@router.get("/api/realtime/stream/{user_id}")
async def realtime(request: Request, user_id: str, quality: Quality = 85, max_fps: MaxFps = 30) -> StreamingResponse:
    """The webcam pictures of an open socket."""
    return await _response(request, "realtime", user_id, quality, max_fps)


@router.get("/api/canvas/stream/{user_id}")
async def canvas(request: Request, user_id: str, quality: Quality = 95, max_fps: MaxFps = 30) -> StreamingResponse:
    """The canvas pictures of an open socket."""
    return await _response(request, "canvas", user_id, quality, max_fps)


@router.get("/api/inpaint/stream/{user_id}")
async def inpaint(request: Request, user_id: str, quality: Quality = 95, max_fps: MaxFps = 30) -> StreamingResponse:
    """The live inpaint pictures of an open socket."""
    return await _response(request, "inpaint", user_id, quality, max_fps)


async def _response(request: Request, mode: str, user_id: str, quality: int, max_fps: float) -> StreamingResponse:
    api = api_of(request)
    channel = api.find(mode, user_id, await owner_of(request))
    return _Watched(
        channel,
        _parts(api, channel, quality, 1 / max_fps),
        media_type="multipart/x-mixed-replace; boundary=frame",
        # nginx else keeps what a slow viewer has not read yet, and shows it ever later.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


class _Watched(StreamingResponse):
    """A stream of a channel, which hears of it as long as somebody reads."""

    def __init__(self, channel: Channel, content: AsyncIterator[bytes], **options: Any) -> None:
        super().__init__(content, **options)
        self._channel = channel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._channel.watched():
            await super().__call__(scope, receive, send)


async def _parts(api: Api, channel: Channel, quality: int, interval: float) -> AsyncIterator[bytes]:
    shown, due = None, 0.0
    while (result := await channel.picture_after(shown)) is not None:
        pause = due - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
            result = channel.latest or result
        shown, due = result, max(due, time.monotonic()) + interval
        try:
            jpeg = await api.jpeg(channel, result, quality)
        except ArtflowError as error:
            if not channel.results:  # else it is told with the answer
                channel.send(error.as_json() | {"frame": result.frame})
            continue
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)
        yield part + part  # Chrome shows a part only when the next one begins
