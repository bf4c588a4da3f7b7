"""The LoRAs that are offered and those that are there: lists, downloads and their progress."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool

from artflow.api.security import PROXIES, owner_of, refusal, require_sign_in
from artflow.api.state import api_of
from artflow.errors import ArtflowError
from artflow.images import decode, encode_jpeg
from artflow.loras.downloads import Downloads

routes = APIRouter(prefix="/api/lora", dependencies=[Depends(require_sign_in)])
socket_router = APIRouter(prefix="/api/lora")

LONGEST, QUALITY = 192, 85  # of previews: pixels a side
MOST_BYTES = 20_000_000  # of a picture beside a file
EVERY = 0.5  # seconds between two messages of progress
POLICY = 1008
TRY_LATER = 1013
MOST_WATCHERS = 200

Manage = bool | Literal["auto"]


def check_may_manage(setting: Manage, peer: str | None, headers: Mapping[str, str], user: str | None) -> None:
    """Refuse who may not download and delete files here.

    ``auto``: who has signed in may, and without accounts who is on this machine or its private network; nobody on a
    public Space, where all are strangers.

    Raises:
        ArtflowError: ``not_allowed``.
    """
    if setting is True or (setting == "auto" and (user is not None or _is_near(peer, headers))):
        return
    sentence = "Files of LoRAs are managed by the operator of this app alone"
    raise ArtflowError("not_allowed", f"{sentence}; ARTFLOW_MODELS__MANAGE_LORAS=true lets everybody.")


def _is_near(peer: str | None, headers: Mapping[str, str]) -> bool:
    if "SPACE_ID" in os.environ:
        return False
    forwarded = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
    proxied = any(name in headers for name in (*PROXIES, "x-forwarded-host", "x-forwarded-proto"))
    if proxied and not forwarded:
        return False  # for whom it asks, a proxy has not said
    try:
        return not any(ip_address(one).is_global for one in (peer or "", *forwarded))
    except ValueError:
        return False


async def may_manage(request: Request) -> None:
    """FastAPI dependency of what changes files: from no foreign page, and as the operator allows it."""
    settings = api_of(request).pipeline.settings
    if (refused := await refusal(request, settings.server.origins)) is not None:
        raise refused
    await _check(request)


async def _check(request: Request) -> None:
    peer, user = (request.client.host if request.client else None), await owner_of(request)
    check_may_manage(api_of(request).pipeline.settings.models.manage_loras, peer, request.headers, user)


async def _whether(request: Request) -> str:
    """Empty where the person may change files, else why not."""
    try:
        await _check(request)
    except ArtflowError as error:
        return error.message
    return ""


def _downloads(connection: Request | WebSocket) -> Downloads:
    return api_of(connection).pipeline.loras


@routes.get("/presets")
def presets(request: Request, refused: Annotated[str, Depends(_whether)]) -> dict[str, Any]:
    """The LoRAs that are offered, each with whether it is ``downloaded``, and all files that are there (``files``).

    ``refused`` says why the person may not change files, and is empty where they may.
    """
    library = _downloads(request).library
    return {
        "refused": refused,
        "presets": [preset.model_dump() | {"downloaded": library.has(preset)} for preset in library.presets.loras],
        "files": [one.as_json() for one in library.files()],
    }


@routes.get("/download/status")
def status(request: Request) -> dict[str, Any]:
    """All downloads by id, and the totals of those that have ended."""
    downloads = _downloads(request)
    return {"tasks": downloads.tasks, "totals": downloads.totals}


@routes.post("/download/{preset_id}", dependencies=[Depends(may_manage)])
def download(request: Request, preset_id: str, mirror_index: int = 0) -> dict[str, Any]:
    """Begin to download a preset, or go on with it. Its progress: the status, or the socket."""
    return {"status": "ok", "task": _downloads(request).start(preset_id, mirror_index).as_json()}


@routes.post("/download/{preset_id}/cancel", dependencies=[Depends(may_manage)])
def cancel(request: Request, preset_id: str) -> dict[str, Any]:
    """Stop a download and forget what has arrived."""
    _downloads(request).cancel(preset_id)
    return {"status": "ok"}


@routes.post("/download/{task_id}/pause", dependencies=[Depends(may_manage)])
def pause(request: Request, task_id: str) -> dict[str, Any]:
    """Stop a download and keep what has arrived."""
    _downloads(request).pause(task_id)
    return {"status": "ok"}


@routes.post("/download/{task_id}/resume", dependencies=[Depends(may_manage)])
def resume(request: Request, task_id: str) -> dict[str, Any]:
    """Go on with what was paused, or try again what has failed."""
    return {"status": "ok", "task": _downloads(request).resume(task_id).as_json()}


@routes.delete("/files/{file:path}", dependencies=[Depends(may_manage)])
def delete_file(request: Request, file: str) -> dict[str, Any]:
    """Delete a file of the folder, and its preview."""
    _downloads(request).delete(file)
    return {"status": "ok"}


@routes.get("/preview/{file:path}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def preview(request: Request, file: str) -> Response:
    """The picture beside a file, small."""
    found = _downloads(request).library.get(file).preview
    if found is None:
        raise ArtflowError("no_preview", f"There is no picture beside {file[:80]!r}.")
    if (size := found.stat().st_size) > MOST_BYTES:
        raise ArtflowError("picture_too_large", f"The picture has {size} bytes; at most {MOST_BYTES} are read.")
    limits = api_of(request).pipeline.settings.server
    picture = decode(found.read_bytes(), max_pixels=limits.max_pixels, longest=LONGEST)
    return Response(encode_jpeg(picture, QUALITY), media_type="image/jpeg", headers={"Cache-Control": "max-age=300"})


@routes.delete("/presets/{preset_id}", dependencies=[Depends(may_manage)])
def delete(request: Request, preset_id: str) -> dict[str, Any]:
    """Delete the file of a preset."""
    _downloads(request).delete_preset(preset_id)
    return {"status": "ok"}


@socket_router.websocket("/ws/progress")
async def progress(socket: WebSocket) -> None:
    """``{"type": "progress_update", "tasks": {...}}``: at once, and whenever something has changed."""
    api = api_of(socket)
    await socket.accept()
    refused = await refusal(socket, api.pipeline.settings.server.origins)
    if refused is not None or api.lora_watchers >= MOST_WATCHERS:
        full = ArtflowError("busy", f"{MOST_WATCHERS} pages watch downloads already; ask for the status instead.")
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # nobody is there to hear it
            await socket.send_json((refused or full).as_json())
            await socket.close(POLICY if refused else TRY_LATER)
        return
    api.lora_watchers += 1
    gone = asyncio.create_task(_until_gone(socket))
    told: Any = None
    try:
        while not gone.done():
            tasks = await run_in_threadpool(lambda: api.pipeline.loras.tasks)
            if tasks != told:
                told = tasks
                await socket.send_json({"type": "progress_update", "tasks": tasks})
            await asyncio.wait([gone], timeout=EVERY)
    except (RuntimeError, WebSocketDisconnect):  # gone while it was told
        pass
    finally:
        gone.cancel()
        api.lora_watchers -= 1


async def _until_gone(socket: WebSocket) -> None:
    """Read what nobody needs until the other side leaves."""
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass


router = APIRouter()
router.include_router(routes)
router.include_router(socket_router)
