"""Between the CPU's memory and the device's, and the streams that this happens in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from artflow.images import Picture


def upload(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on the device; it may be let go at once.

    CUDA takes a copy of ordinary memory before it returns. MPS reads it later, when it may be gone (before torch 2.13),
    so there the copy is waited for.
    """
    return values.to(device, non_blocking=device.type == "cuda")


def upload_pictures(pictures: Sequence[Picture], device: torch.device) -> torch.Tensor:
    """Pictures of one size on the device: uint8 of shape (n, height, width, 3). A GPU reads them from pinned memory,
    which torch keeps and hands out again when the copy is done, so that nothing waits."""
    pinned = device.type == "cuda"
    together = torch.empty((len(pictures), *pictures[0].shape), dtype=torch.uint8, pin_memory=pinned)
    np.stack(pictures, out=together.numpy())
    return upload(together, device)


class DrawsFrom(TorchFunctionMode):
    """In its body, what ``torch.randn`` would draw from a generator comes from ``draw`` instead, on ``device``.

    For samplers of diffusers, which have no other place to give them noise. ``draw`` takes a shape and returns noise in
    the CPU's memory, so that a seed means the same everywhere; a GPU gets it from pinned memory and is not waited for.
    """

    def __init__(self, draw: Callable[[Sequence[int]], torch.Tensor], device: torch.device) -> None:
        super().__init__()
        self._draw, self._device = draw, device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn or kwargs.get("generator") is None:
            return func(*args, **kwargs)
        noise = self._draw(*args)
        return upload(noise.pin_memory() if self._device.type == "cuda" else noise, self._device)


def download(*values: torch.Tensor) -> list[torch.Tensor]:
    """Tensors of the device on the CPU; all of them with one wait for the device."""
    if values[0].device.type != "cuda":
        return [value.cpu() for value in values]
    copies = [value.to("cpu", non_blocking=True) for value in values]  # into pinned memory
    torch.cuda.current_stream().synchronize()
    return copies


def empty_cache(device: torch.device | str) -> None:
    """Give back the memory that torch keeps for later; that of a model's graphs is given back only then."""
    if (kind := torch.device(device).type) == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()


@contextmanager
def stream(device: torch.device | str, *, first: bool = False, after: Any = None) -> Iterator[None]:
    """On a GPU: compute the body in a stream of its own, and wait for it at the end. Elsewhere nothing is done.

    ``first``: kernels of this stream go before those of the others. ``after``: a stream that must have come first to
    where it is now, so that its tensors can be used.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    mine = torch.cuda.Stream(priority=-1 if first else 0)
    if after is not None:
        mine.wait_stream(after)
    with torch.cuda.stream(mine):
        yield
    mine.synchronize()
