"""One picture for one prompt, as StreamDiffusion's text client (``demo/realtime-txt2img``) asks for it."""

from __future__ import annotations

import asyncio
import base64

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from artflow.admission import Asker
from artflow.api.client_address import address_of
from artflow.api.security import refusal, require_sign_in
from artflow.api.state import api_of
from artflow.errors import ArtflowError
from artflow.images import encode_jpeg
from artflow.job_context import JobContext, in_thread

router = APIRouter(dependencies=[Depends(require_sign_in)])

QUALITY = 90
LOOK_EVERY = 0.2  # seconds between two looks whether the client is still there


class Asked(BaseModel):
    """What the client asks for."""

    prompt: str


class Answer(BaseModel):
    """What it gets: a JPEG file in base64."""

    base64_image: str


@router.post("/api/predict")
async def predict(request: Request, asked: Asked) -> Answer:
    """A picture of the prompt with the text tab's settings and a random seed.

    The client asks sixteen times while somebody types, and breaks off what is no longer wanted, which is cancelled.
    """
    if (refused := await refusal(request, api_of(request).pipeline.settings.server.origins)) is not None:
        raise refused
    address = address_of(request.client.host if request.client else None, request.headers)
    pipeline, context = api_of(request).pipeline, JobContext(who=Asker(address=address))

    def work() -> str:
        made = pipeline.generate({"prompt": asked.prompt, "seed": -1, "batch_count": 1}, context)
        if not made:
            raise ArtflowError("cancelled", "The client has gone before the picture was made.")
        return base64.b64encode(encode_jpeg(made[0].picture, QUALITY)).decode("ascii")

    job = asyncio.wrap_future(in_thread("predict", work))
    try:
        while not (await asyncio.wait({job}, timeout=LOOK_EVERY))[0]:
            if await request.is_disconnected():
                context.cancelled.set()
    finally:
        context.cancelled.set()
    return Answer(base64_image=await job)
