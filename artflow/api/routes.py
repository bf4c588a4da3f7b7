"""All routes, and what ``launch(app_kwargs=...)`` needs to put them beside the UI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from artflow.api import docs, info, live, lora, picture, predict, stream, styles
from artflow.api.address import PageAddress
from artflow.api.security import KnownHosts
from artflow.api.state import Api
from artflow.errors import ArtflowError
from artflow.pipeline import Pipeline

# Gradio's server-side rendering proxy and some hosts pass on only this prefix; the pages use it.
PAGE_PREFIX = "/gradio_api/artflow"

STATUS = {
    "no_session": 404, "busy": 503, "too_many_jobs": 503, "too_many_sessions": 503,
    "unknown_lora": 404, "unknown_download": 404, "not_downloaded": 404, "no_preview": 404, "not_allowed": 403,
}  # fmt: skip


def app_kwargs(pipeline: Pipeline) -> dict[str, Any]:
    """Keyword arguments of the FastAPI app: our routes, their shared state, their errors, and /docs."""
    return {
        "routes": list(_router().routes),
        "middleware": [Middleware(KnownHosts, pipeline.settings.server.origins), Middleware(PageAddress)],
        "lifespan": _lifespan(pipeline),
        "exception_handlers": {ArtflowError: _as_json},
        "title": "ArtFlow",
        "docs_url": None,  # ours need a sign-in if the page does
        "openapi_url": None,
    }


def _router() -> APIRouter:
    both = APIRouter()
    parts = (docs, live, stream, picture, predict, styles, lora, info)
    for router in (*(part.router for part in parts), info.open_router):
        both.include_router(router)
        both.include_router(router, prefix=PAGE_PREFIX, include_in_schema=False)
    return both


def _lifespan(pipeline: Pipeline) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.artflow = Api(pipeline)
        try:
            yield
        finally:
            app.state.artflow.close()

    return lifespan


async def _as_json(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ArtflowError)
    return JSONResponse(error.as_json(), STATUS.get(error.code, 422))
