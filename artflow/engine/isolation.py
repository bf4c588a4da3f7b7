"""Errors belong to their owner: whatever a model, a sampler or a listener raises ends one owner's pictures, and nothing
else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from artflow.engine.engine_metrics import EngineMetrics
from artflow.engine.request import Owner, Request
from artflow.engine.runner import device_lost
from artflow.errors import ArtflowError

log = logging.getLogger(__name__)

T = TypeVar("T")
V = TypeVar("V")


def isolated(
    compute: Callable[[Sequence[tuple[Request, V]]], Sequence[T]],
    items: Sequence[tuple[Request, V]],
    metrics: EngineMetrics,
) -> list[tuple[Request, T]]:
    """What ``compute`` makes of requests with their values, with the requests that it has worked for.

    ``compute`` gets all items in one call; if that raises, each half, down to single ones. So an error is told to the
    owner that causes it alone, and what was too large for the memory is tried smaller. ``metrics`` learns of a lost
    device.
    """
    if not items:
        return []
    requests = [request for request, _ in items]
    try:
        return list(zip(requests, compute(items), strict=True))
    except Exception as error:  # noqa: BLE001 - whatever a model raises ends one owner's frames, not the engine
        runner = requests[0].runner
        metrics.device_lost |= device_lost(error)
        full = runner.out_of_memory(error, requests[0].plan.compat, len(items))
        if len(items) == 1:
            told = full or as_artflow_error(error, requests[0].owner)
    # Behind the handler: the error's traceback held what the failed call had computed.
    if len(items) == 1:
        fail(requests, told)
        return []
    if full:
        runner.free_memory()
    half = len(items) // 2
    return [*isolated(compute, items[:half], metrics), *isolated(compute, items[half:], metrics)]


@contextmanager
def failing(*requests: Request) -> Iterator[None]:
    """Whatever the body raises is an error of these requests, which have one owner; it is not raised any further."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a sampler or a listener may raise anything
        fail(requests, as_artflow_error(error, requests[0].owner))


def fail(requests: Sequence[Request], error: ArtflowError) -> None:
    """Tell the one owner of these requests of an error. Raises nothing."""
    try:
        requests[0].owner.fail(requests, error)
    except Exception:
        log.exception("an owner could not be told of an error")


def as_artflow_error(error: Exception, owner: Owner) -> ArtflowError:
    """What a person is told of an error inside a step; the log has the rest."""
    if isinstance(error, ArtflowError):
        return error.with_traceback(None)  # whose frames hold what was computed
    log.error("a step failed", exc_info=error, extra={"owner": owner.id})
    sentence = f"This picture could not be made: an error inside the app ({type(error).__name__}); its log says more."
    return ArtflowError("engine_error", sentence)


def settle(task: Callable[[], Any], future: Future) -> None:
    """Run somebody's task; what it returns or raises is theirs, in the future."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(task())
        except Exception as error:  # noqa: BLE001 - the future raises it where it is asked for
            future.set_exception(error)
