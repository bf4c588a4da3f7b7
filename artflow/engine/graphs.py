"""CUDA graphs: calls that are recorded when a model is loaded, and replayed without launch costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Lock

import torch

log = logging.getLogger(__name__)

Tensors = Mapping[str, torch.Tensor]


class GraphPool:
    """The memory that all graphs of a model share. Replays follow each other on the device, whatever streams they are
    on, because of it. ``problem`` is why none are used, where recording has failed."""

    def __init__(self) -> None:
        self.problem = ""
        self.handle = torch.cuda.graph_pool_handle()
        self.lock = Lock()
        self.ended = torch.cuda.Event()  # of the last replay


class CudaGraphs:
    """Wraps a function of named tensors. Calls with the shapes of a recorded one are replayed, others run plainly.

    Nothing is recorded by a call: that takes up to a second, in which nobody would be served. See "CUDA graphs" in
    PyTorch's notes on CUDA semantics. Safe from any thread.
    """

    def __init__(self, compute: Callable[[Tensors], torch.Tensor], pool: GraphPool) -> None:
        self._compute = compute
        self._pool = pool
        self._recorded: dict[tuple, tuple[torch.cuda.CUDAGraph, dict[str, torch.Tensor], torch.Tensor]] = {}

    def __call__(self, given: Tensors) -> torch.Tensor:
        """The same argument and result as the function's."""
        if (recorded := self._recorded.get(_key(given))) is None:
            return self._compute(given)
        graph, held, output = recorded
        with self._pool.lock:
            self._pool.ended.wait()
            for name, value in given.items():
                held[name].copy_(value, non_blocking=True)
            graph.replay()
            copy = output.clone()
            self._pool.ended.record()
        return copy

    def record(self, given: Tensors) -> None:
        """Record a call with arguments of these shapes. What fails is told in the pool, and calls run plainly.

        Out of memory is no failure of graphs: calls of these shapes run plainly, and smaller ones may be recorded.
        """
        if self._pool.problem or _key(given) in self._recorded:
            return
        try:
            self._recorded[_key(given)] = self._record(given)
        except torch.OutOfMemoryError:
            log.warning("no memory for a CUDA graph of %s", _key(given))
        except Exception as error:
            log.warning("CUDA graphs are off", exc_info=True)
            reason = str(error).strip().splitlines()[0][:200]
            self._pool.problem = f"CUDA graphs could not be recorded, so the plain path runs: {reason}"
            self._recorded.clear()

    def _record(self, given: Tensors) -> tuple:
        held = {name: value.clone() for name, value in given.items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their kernels before the recording
            for _ in range(3):
                self._compute(held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads compute and load meanwhile: only what this one does can spoil the recording.
        with self._pool.lock, torch.cuda.graph(graph, pool=self._pool.handle, capture_error_mode="thread_local"):
            output = self._compute(held)
        return graph, held, output


def _key(given: Tensors) -> tuple:
    return tuple((name, tuple(value.shape)) for name, value in given.items())
