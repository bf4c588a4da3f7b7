"""CUDA graphs of the denoiser: one recorded call for each shape it meets, replayed without launch costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

MOST = 16


class CudaGraphs:
    """Wraps the denoiser; the first call of a shape records, later ones copy their inputs in and replay.

    Only the first ``MOST`` shapes are recorded, since people choose the sizes. The graphs share one memory pool. See
    "CUDA graphs" in PyTorch's notes on CUDA semantics.
    """

    def __init__(self, denoise: Callable[..., tuple[torch.Tensor]]) -> None:
        self._denoise = denoise
        self._recorded: dict[tuple, tuple[torch.cuda.CUDAGraph, dict[str, torch.Tensor], torch.Tensor]] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, latents: torch.Tensor, times: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor]:
        """The same arguments and result as the UNet's ``forward(..., return_dict=False)``."""
        added = kwargs.pop("added_cond_kwargs", None) or {}
        inputs = {"latents": latents, "times": times}
        inputs |= {name: value for name, value in (kwargs | added).items() if isinstance(value, torch.Tensor)}
        key = tuple((name, tuple(value.shape)) for name, value in inputs.items())
        if key not in self._recorded:
            if len(self._recorded) >= MOST:
                return self._denoise(latents, times, **kwargs, **({"added_cond_kwargs": added} if added else {}))
            self._recorded[key] = self._record(inputs, set(added))
        graph, held, output = self._recorded[key]
        for name, value in inputs.items():
            held[name].copy_(value, non_blocking=True)
        graph.replay()
        return (output.clone(),)

    def _record(self, inputs: dict[str, torch.Tensor], added: set[str]) -> tuple:
        held = {name: value.clone() for name, value in inputs.items()}

        def call() -> torch.Tensor:
            others = added | {"latents", "times"}
            rest: dict[str, Any] = {name: value for name, value in held.items() if name not in others}
            if added:
                rest["added_cond_kwargs"] = {name: held[name] for name in added}
            return self._denoise(held["latents"], held["times"], return_dict=False, **rest)[0]

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their kernels before the recording
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Others may load a model meanwhile: only what this thread does can spoil the recording.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = call()
        return graph, held, output
