"""CUDA graphs: one recorded call for each shape it meets, replayed without launch costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock

import torch

MOST = 16
Predict = Callable[[torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]


class CudaGraphs:
    """Wraps `Model.predict`; the first call of a shape records, later ones copy their inputs in and replay.

    Only the first ``MOST`` shapes are recorded, since people choose the sizes. The graphs share one memory pool, so one
    replay begins on the device when the one before has ended, whatever streams they are on. See "CUDA graphs" in
    PyTorch's notes on CUDA semantics. Safe from any thread.
    """

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._recorded: dict[tuple, tuple[torch.cuda.CUDAGraph, dict[str, torch.Tensor], torch.Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._lock = Lock()
        self._ended = torch.cuda.Event()  # of the last replay

    def __call__(
        self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The same arguments and result as `Model.predict`."""
        given = {"latents": latents, "timesteps": timesteps, **inputs}
        key = tuple((name, tuple(value.shape)) for name, value in given.items())
        with self._lock:
            if key not in self._recorded and len(self._recorded) < MOST:
                self._recorded[key] = self._record(given)
            if (recorded := self._recorded.get(key)) is not None:
                graph, held, output = recorded
                self._ended.wait()
                for name, value in given.items():
                    held[name].copy_(value, non_blocking=True)
                graph.replay()
                copy = output.clone()
                self._ended.record()
                return copy
        return self._predict(latents, timesteps, inputs)

    def _record(self, given: dict[str, torch.Tensor]) -> tuple:
        held = {name: value.clone() for name, value in given.items()}

        def call() -> torch.Tensor:
            inputs = {name: value for name, value in held.items() if name not in ("latents", "timesteps")}
            return self._predict(held["latents"], held["timesteps"], inputs)

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their kernels before the recording
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads compute and load meanwhile: only what this one does can spoil the recording.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = call()
        return graph, held, output
