"""Pictures of files that browsers do not show, for the live views."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from artflow.api.security import refusal, require_sign_in
from artflow.api.state import api_of
from artflow.errors import ArtflowError
from artflow.images import as_png, decode

router = APIRouter(dependencies=[Depends(require_sign_in)])

LONGEST = 4096  # pixels a side; the views themselves make larger pictures smaller


@router.post("/api/picture", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def picture(request: Request) -> Response:
    """The picture of a file of any kind that ArtFlow opens as a PNG: in sRGB, upright, at most 4096 pixels a side.

    The body of the request is the file.
    """
    api = api_of(request)
    limits = api.pipeline.settings.server
    if (refused := await refusal(request, limits.origins)) is not None:
        raise refused
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limits.max_file_bytes:
            raise ArtflowError("picture_too_large", f"The file has over {limits.max_file_bytes} bytes.")
    async with api.converting:
        png = await run_in_threadpool(_as_png, bytes(data), limits.max_pixels)
    return Response(png, media_type="image/png")


def _as_png(data: bytes, max_pixels: int) -> bytes:
    return as_png(decode(data, max_pixels=max_pixels, longest=LONGEST))
