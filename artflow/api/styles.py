"""The styles of Painter: which there are, which a prompt names, and a picture in each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from artflow.admission import Asker
from artflow.api import framing
from artflow.api.client_address import address_of
from artflow.api.security import refusal, require_sign_in
from artflow.api.state import Api, api_of
from artflow.errors import ArtflowError
from artflow.images import Picture, decode, encode_jpeg
from artflow.modes.style_strip import COLUMNS, SAMPLE, SIDE
from artflow.prompts.styles import Styles, styles

router = APIRouter(prefix="/api/painter", dependencies=[Depends(require_sign_in)])

LONGEST = 256  # pixels a side of a picture that thumbnails are made of
MOST_BYTES = 100_000
QUALITY = 85
SHEET: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


@router.get("/styles")
def table() -> dict[str, Any]:
    """All styles in the order of the strip: id, names by language (``en`` at least), and the words that name each."""
    known = styles()
    return {"default": known.default, "styles": [
        {"id": style.id, "names": dict(style.names), "words": [style.id, *style.aliases, *style.alone]}
        for style in known.styles
    ]}  # fmt: skip


@router.get("/named")
def named(request: Request, prompt: str = "") -> dict[str, Any]:
    """The styles that a prompt names, each with its share, and the rest of the prompt."""
    longest = api_of(request).pipeline.settings.server.max_prompt
    if len(prompt) > longest:
        raise ArtflowError("prompt_too_long", f"The prompt has {len(prompt)} characters; at most {longest} are read.")
    found = styles().find(prompt)
    return {"styles": dict(found.styles), "rest": found.rest}


@router.get("/thumbnails", response_class=Response, responses=SHEET)
async def sample(request: Request) -> Response:
    """A portrait in all styles, as the answer of the other route."""
    api = api_of(request)
    return await _answer(request, lambda: _sample(api, styles()))


@router.post("/thumbnails", response_class=Response, responses=SHEET)
async def thumbnails(request: Request) -> Response:
    """A picture of at most 256 pixels a side in all styles. The body is its file.

    The answer is a binary message as the sockets have them: 4 bytes length, JSON with the ``styles``, ``side`` and
    ``columns``, and a JPEG of the thumbnails in that order, row by row.
    """
    api = api_of(request)
    if (refused := await refusal(request, api.pipeline.settings.server.origins)) is not None:
        raise refused
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MOST_BYTES:
            raise ArtflowError("picture_too_large", f"The file has over {MOST_BYTES} bytes; send a small picture.")
    return await _answer(request, lambda: _sheet(api, decode(bytes(data), max_pixels=LONGEST**2)))


async def _answer(request: Request, make: Callable[[], bytes]) -> Response:
    address = address_of(request.client.host if request.client else None, request.headers)

    def work() -> bytes:
        with api_of(request).strips.place(Asker(address=address)):
            return make()

    return Response(await run_in_threadpool(work), media_type="application/octet-stream")


def _sheet(api: Api, picture: Picture) -> bytes:
    sheet = api.pipeline.styles.sheet(picture)
    about = {"styles": list(sheet.styles), "side": SIDE, "columns": COLUMNS}
    return framing.pack(about, encode_jpeg(sheet.picture, QUALITY))


@lru_cache(maxsize=1)
def _sample(api: Api, known: Styles) -> bytes:
    """Painted once, and again where there are other styles (``known``) than then."""
    return _sheet(api, decode(SAMPLE.read_bytes(), max_pixels=LONGEST**2))
