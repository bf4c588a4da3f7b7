"""A painting network on its device: torch on GPUs, onnxruntime on CPUs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from artflow.machine import cores
from artflow.models.dtypes import memory_format
from artflow.models.families.painter.network import PainterNetwork

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Paint(Protocol):
    """Paints pictures in a style each; see `PainterNetwork.forward`."""

    def __call__(self, pixels: torch.Tensor, styles: torch.Tensor) -> torch.Tensor: ...


class OnTorch:
    """On a GPU, the whole batch in one call."""

    def __init__(self, weights: Mapping[str, torch.Tensor], device: torch.device, dtype: torch.dtype) -> None:
        self._dtype, self._format = dtype, memory_format(device)
        network: Any = PainterNetwork({name: value.to(device, dtype) for name, value in weights.items()})
        self._network = network.to(memory_format=self._format)

    def __call__(self, pixels: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
        """See `Paint`."""
        return self._network(pixels.to(self._dtype).contiguous(memory_format=self._format), styles)


class OnOnnxruntime:
    """On a CPU, a picture a call: what one needs fits into the caches, what eight need does not, and costs half as much
    again. It computes in as many threads as torch would now (`torch.get_num_threads`)."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        from artflow.models.families.painter.graph import painter_graph

        self._graph = painter_graph(weights).SerializeToString()
        self._sessions: dict[int, InferenceSession] = {}

    def __call__(self, pixels: torch.Tensor, styles: torch.Tensor) -> torch.Tensor:
        """See `Paint`."""
        session = self._session(torch.get_num_threads())
        rows = zip(pixels.contiguous().numpy(), styles.numpy(), strict=True)
        painted = [session.run(None, {"pixels": p[None], "styles": s[None]})[0] for p, s in rows]
        return torch.cat([torch.from_numpy(one) for one in painted])

    def seconds(self, side: int, style_size: int) -> float:
        """What a picture of side x side takes now, in one thread or in all, whichever is faster."""
        given = {"pixels": np.random.rand(1, 3, side, side), "styles": np.random.rand(1, style_size)}
        given = {name: value.astype(np.float32) for name, value in given.items()}
        best = float("inf")
        for threads in {1, cores()}:
            session = self._session(threads)
            for _ in range(4):
                begun = time.perf_counter()
                session.run(None, given)
                best = min(best, time.perf_counter() - begun)
        return best

    def _session(self, threads: int) -> InferenceSession:
        if threads not in self._sessions:
            from onnxruntime import InferenceSession, SessionOptions

            options = SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads take no core
            self._sessions[threads] = InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])
        return self._sessions[threads]


def painting_network(weights: Mapping[str, torch.Tensor], device: torch.device, dtype: torch.dtype) -> Paint:
    """What paints with these weights on this device."""
    return OnOnnxruntime(weights) if device.type == "cpu" else OnTorch(weights, device, dtype)
