"""A network, and a copy of it that has adapters: the same weights, with peft's layers around those that are adapted.

The copy is never changed while others compute. What changes is a copy of the copy, which costs no weights either and
takes its place when it is whole. So the network itself stays what it was, bit for bit, and nobody waits.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from artflow.models.packing import apart

FLAT = ("time_emb_proj", "time_embedding", "add_embedding", "text_projection")
"""Parts of the names of layers whose input is (rows, width); that of all other linear layers is (rows, n, width)."""


class _Call(threading.local):
    """What the call of this thread is made with: each adapter's weight for each row, on the device, and products."""

    weights: Mapping[str, torch.Tensor] = {}

    def __init__(self) -> None:
        self.scaled: dict[tuple[str, float, int], torch.Tensor] = {}


_call = _Call()


class _Active:
    """The adapters that peft's layers compute with: those of this thread's call."""

    def __iter__(self) -> Iterator[str]:
        return iter(_call.weights)


class _Scaling(dict[str, float]):
    """What peft multiplies an adapter's part by: what the file says, times the weights of the rows of the call."""

    def __init__(self, said: Mapping[str, float], dims: int) -> None:
        super().__init__(said)
        self._dims = dims

    def __getitem__(self, name: str) -> Any:
        said = super().__getitem__(name)
        key = (name, said, self._dims)
        if (found := _call.scaled.get(key)) is None:
            weights = _call.weights[name]
            found = _call.scaled[key] = (weights * said).view(-1, *[1] * (self._dims - 1))
        return found


class Adapted:
    """A UNet or text tower, and its copy with adapters, once there are any."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.copy: nn.Module | None = None

    @property
    def own_bytes(self) -> int:
        """Bytes of the copy's weights that are not the network's, adapters left out."""
        if (adapted := self.copy) is None:
            return 0
        shared = {id(weight) for weight in self.network.parameters()}
        named = adapted.named_parameters()
        return sum(weight.nbytes for name, weight in named if id(weight) not in shared and ".lora_" not in name)

    @contextmanager
    def changing(self) -> Iterator[nn.Module]:
        """A copy whose adapters may be changed; it takes the place of the one before unless something is raised.

        For one thread at a time.
        """
        changed = _sharing(self.network if self.copy is None else self.copy)
        yield changed
        for name, layer in layers(changed).items():
            wide = isinstance(layer.get_base_layer(), nn.Conv2d)
            layer.scaling = _Scaling(layer.scaling, 4 if wide else 2 if any(part in name for part in FLAT) else 3)
            layer._active_adapter = _Active()
        self.copy = changed

    def forget(self) -> None:
        """Let go of the copy, where nothing is left that needs it."""
        self.copy = None

    @contextmanager
    def rows(self, weights: Sequence[Mapping[str, float]], device: torch.device, dtype: torch.dtype) -> Iterator[Any]:
        """The network for a call by this thread; row i gets ``weights[i]`` of the adapters.

        That is the network itself where all weights are 0: what no row uses costs nothing.
        """
        used = sorted({name for those in weights for name, weight in those.items() if weight})
        adapted = self.copy
        if not used or adapted is None:
            yield self.network
            return
        table = torch.tensor([[those.get(name, 0.0) for those in weights] for name in used], dtype=dtype)
        if device.type == "cuda":  # a live call must not wait for the device
            table = table.pin_memory()
        before = _call.weights, _call.scaled
        _call.scaled = {}
        _call.weights = dict(zip(used, table.to(device, non_blocking=True), strict=True))
        try:
            yield adapted
        finally:
            _call.weights, _call.scaled = before


def layers(network: nn.Module) -> dict[str, Any]:
    """peft's layers of a network by the names of what they are around."""
    from peft.tuners.lora import LoraLayer

    return {name: layer for name, layer in network.named_modules() if isinstance(layer, LoraLayer)}


def _sharing(network: nn.Module) -> nn.Module:
    """The same modules once more around the same weights, with peft's layers as peft makes them."""
    shared = [*network.parameters(), *network.buffers()]
    if (config := getattr(network, "_internal_dict", None)) is not None:
        shared.append(config)
    changed = copy.deepcopy(network, {id(one): one for one in shared})
    changed.__dict__.pop("forward", None)  # compiled code is that of the network without adapters
    apart(changed)
    for layer in layers(changed).values():
        layer.scaling = dict(layer.scaling.items())
        layer._active_adapter = list(layer.r)
    return changed
