"""The documentation of the routes (/docs, /openapi.json), behind the app's sign-in."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from artflow.api.security import require_sign_in

router = APIRouter(dependencies=[Depends(require_sign_in)], include_in_schema=False)


@router.get("/docs")
async def docs() -> HTMLResponse:
    """Swagger UI; the browser loads it from its makers' server."""
    # A relative URL, so that it works behind any prefix of a proxy.
    return get_swagger_ui_html(openapi_url="openapi.json", title="ArtFlow")


@router.get("/openapi.json")
async def openapi(request: Request) -> dict[str, Any]:
    """The OpenAPI schema."""
    return request.app.openapi()
