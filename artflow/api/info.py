"""What the server can do and how busy it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from artflow.api.security import require_sign_in
from artflow.api.state import Api, api_of
from artflow.modes import routing
from artflow.modes.schema import info_schema, input_schema

router = APIRouter(dependencies=[Depends(require_sign_in)])
open_router = APIRouter()  # for load balancers, which do not sign in

FEATURED = ("prompt", "strength", "steps")  # shown at once by the earlier front ends, the others when asked for
SIDE = {"min": 16, "step": 8}  # what a width and height may be, up to the operator's limit

Mode = Literal["realtime", "canvas", "inpaint"]


@router.get("/api/{mode}/settings")
async def settings(request: Request, mode: Mode) -> dict[str, Any]:
    """A mode's parameters with defaults and limits, its performance settings, and the number of places."""
    pipeline = api_of(request).pipeline
    about, defaults = pipeline.parameters.modes[mode], pipeline.parameters.live(mode)
    page = f"<h1>ArtFlow: {about.title}</h1><p>{about.description}</p>"
    info = {
        "name": about.name, "title": about.title, "description": about.description, "input_mode": "image",
        "page_content": page,
    }  # fmt: skip
    own = routing.start(mode, pipeline.spec, pipeline.catalog)  # whose size the earlier front ends want to know
    params = input_schema(defaults.model_copy(update={"width": own.width, "height": own.height}))
    for name, entry in params["properties"].items():
        entry |= {"hide": name not in FEATURED, "disabled": entry["field"] == "hidden"}
    for side in ("width", "height"):
        params["properties"][side] |= SIDE | {"max": pipeline.settings.server.max_size}
    performance = type(pipeline.settings.realtime.performance).model_fields
    return {
        "info": info_schema(info),
        "input_params": params,
        "performance": {name: getattr(defaults, name) for name in performance},
        "max_queue_size": pipeline.settings.server.max_queue_size,
        "page_content": page,
    }


@router.get("/api/settings")
async def legacy_settings(request: Request) -> dict[str, Any]:
    """The webcam mode's settings, where the earlier servers had them."""
    return await settings(request, "realtime")


@router.get("/api/{mode}/queue")
async def queue(request: Request, mode: Mode) -> dict[str, int]:
    """How many live sessions the mode has."""
    return {"queue_size": api_of(request).count(mode)}


@router.get("/api/queue")
async def legacy_queue(request: Request) -> dict[str, int]:
    """How many live sessions there are."""
    return {"queue_size": api_of(request).count()}


@open_router.get("/api/health")
async def health(request: Request, response: Response) -> dict[str, Any]:
    """200 if the app, its engine and the device answer, else 503."""
    api = api_of(request)
    healthy = api.pipeline.healthy
    response.status_code = 200 if healthy else 503
    return {
        "status": "healthy" if healthy else "unhealthy",
        "timestamp": datetime.now(UTC).isoformat(),
        "database": "none",
        "queue": {"sessions": api.count(), "jobs": api.pipeline.jobs},
    }


@router.get("/api/metrics")
async def metrics(request: Request) -> dict[str, Any]:
    """How busy the engine is, and how many CPU threads its calls use, by model, network and pixels of a call."""
    pipeline = api_of(request).pipeline
    numbers = pipeline.metrics()
    busy = numbers["sessions"] or numbers["jobs"]
    active = numbers["active_jobs"]
    waiting = max(numbers["jobs"] - active, 0)
    return {
        "queue_length": waiting,
        "worker_status": "busy" if busy else "idle",
        "active_jobs": active,
        "threads": pipeline.threads,
        "engine": {name: value for name, value in numbers.items() if name not in ("jobs", "active_jobs")},
    }


@router.get("/metrics", response_class=PlainTextResponse)
async def prometheus(request: Request) -> PlainTextResponse:
    """The same and more in Prometheus' text format."""
    return PlainTextResponse(_exposition(api_of(request)), media_type="text/plain; version=0.0.4")


def _exposition(api: Api) -> bytes:
    registry = CollectorRegistry()
    words = {
        "sessions": "Live sessions being served",
        "jobs": "Jobs that wait or run",
        "active_jobs": "Jobs with a picture that has been begun",
        "model_calls": "Calls of the denoiser so far",
        "rows": "Rows in those calls",
        "rows_live": "Rows of live sessions",
        "rows_job": "Rows of jobs",
        "waiting_live": "Frames of live sessions that have not been begun",
        "waiting_job": "Pictures of running jobs that have not been begun",
        "call_seconds": "Seconds that those calls took",
        "longest_step_seconds": "Longest time in the last minute in which nobody was served live",
        "starved": "1 while other programs keep calls waiting for a CPU core",
        "gpu_memory_mb": "GPU memory in use, MB",
    }
    numbers = api.pipeline.metrics()
    for name, about in words.items():
        if numbers[name] is not None:
            Gauge(f"artflow_{name}", about, registry=registry).set(numbers[name])
    labels = ["model", "network", "pixels"]
    threads = Gauge("artflow_threads", "CPU threads of calls with at most so many pixels", labels, registry=registry)
    for model, networks in api.pipeline.threads.items():
        for network, sizes in networks.items():
            for pixels, count in sizes.items():
                threads.labels(model, network, pixels).set(count)
    return generate_latest(registry)
