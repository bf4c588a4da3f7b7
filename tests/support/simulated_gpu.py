"""A pretended CUDA device for machines without one: what would fail or wait on a GPU fails or is counted here.

Tensors on it say that they are on ``cuda:0`` and hold their values on the CPU, so whole engines run and make real
pictures. Operations refuse tensors of two devices as CUDA does, copies to and from the CPU and waits are kept with the
line that asked for them, results of copies that nobody waited for are rubbish, and CUDA graphs are recorded, refuse
what is illegal in a capture, and are replayed on the same memory.

What it cannot show is speed, memory that runs out, and kernels that compute otherwise than the CPU's.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE = torch.device("cuda", 0)
ROOT = Path(__file__).resolve().parents[2]

WAITING = {  # operations whose result the CPU needs at once
    aten.item, aten._local_scalar_dense, aten.nonzero, aten.is_nonzero, aten.equal, aten.masked_select, aten._unique2,
}  # fmt: skip
INDEXED = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}  # by tensors of the CPU, too


class GpuTensor(torch.Tensor):
    """A tensor that says it is on the pretended device; ``held`` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> GpuTensor:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, device=DEVICE, **layout)
        tensor.held = held
        return tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return INSTEAD.get(func, func)(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _gpu().run(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"GpuTensor({tuple(self.shape)}, {self.dtype})"


def _getitem(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    if not isinstance(tensor, GpuTensor):
        return tensor[_gpu().index_on_the_cpu(index)]
    return _gpu().indexed(operator.getitem, tensor, index)


def _setitem(tensor: torch.Tensor, index: Any, value: Any) -> None:
    if not isinstance(tensor, GpuTensor):
        tensor[_gpu().index_on_the_cpu(index)] = value.cpu() if isinstance(value, GpuTensor) else value
    else:
        _gpu().indexed(operator.setitem, tensor, index, value)


def _tensor(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
    if device is not None and torch.device(device).type == "cuda":
        return torch.tensor(data, **kwargs).to(DEVICE)
    return torch.tensor(data, device=device, **kwargs)


INSTEAD: dict[Any, Callable[..., Any]] = {  # of functions that ask for a CUDA device before an operation can step in
    torch.tensor: _tensor,
    torch.Tensor.to: lambda tensor, *args, **kwargs: tensor.to(*map(_indexed, args), **_indexed(kwargs)),
    torch.Tensor.pin_memory: lambda tensor, *_: _gpu().pin(tensor.clone()),
    torch.Tensor.is_pinned: lambda tensor, *_: _gpu().is_pinned(tensor),
    torch.Tensor.record_stream: lambda *_: None,
    torch.Tensor.__getitem__: _getitem,
    torch.Tensor.__setitem__: _setitem,
    torch.Tensor.item: aten.item.default,
    torch.Tensor.__bool__: lambda tensor: bool(aten.item.default(tensor)),
    torch.Tensor.__int__: lambda tensor: int(aten.item.default(tensor)),
    torch.Tensor.__float__: lambda tensor: float(aten.item.default(tensor)),
    torch.Tensor.__index__: lambda tensor: int(aten.item.default(tensor)),
    torch.Tensor.tolist: lambda tensor: tensor.cpu().tolist(),
    torch.Tensor.nonzero: aten.nonzero.default,
    torch.Tensor.copy_: aten.copy_.default,
    torch.Tensor.new_tensor: lambda tensor, data: torch.tensor(data, dtype=tensor.dtype).to(tensor.device),
    torch.Tensor.contiguous: lambda tensor, *, memory_format=torch.contiguous_format: aten.contiguous.default(
        tensor, memory_format=memory_format
    ),
}


class _Functions(TorchFunctionMode):
    """Steps in for functions of torch, also where none of their arguments is on the device yet."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return INSTEAD.get(func, func)(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Sees operations without such a tensor, too, such as ``torch.zeros(..., device="cuda")``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _gpu().run(func, args, kwargs or {})


@dataclass(frozen=True)
class Wait:
    """A thread that stood still until the device had come so far."""

    what: str
    shape: tuple[int, ...]
    line: str
    """The innermost line of ours, ``artflow/engine/runner.py:107``."""
    thread: str


@dataclass
class SimulatedGpu:
    """What happened on the pretended device since the last `forget`."""

    kernels: Counter[str] = field(default_factory=Counter)
    """Operations that were launched, by name."""
    waits: list[Wait] = field(default_factory=list)
    copies: Counter[str] = field(default_factory=Counter)
    """Bytes by direction: ``to the device``, ``to the CPU``; ``... on a side stream`` what was not on the default."""
    captures: int = 0
    replays: int = 0
    capture: Capture | None = field(default=None, repr=False)
    _pinned: dict[int, torch.UntypedStorage] = field(default_factory=dict, repr=False)

    def forget(self) -> None:
        """Set all counts to zero."""
        self.kernels, self.waits, self.copies = Counter(), [], Counter()
        self.captures = self.replays = 0

    # -- one operation ------------------------------------------------------------------------------------------------

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation as the device would, or refuse it."""
        packet = func.overloadpacket
        tensors = [*_tensors(args), *_tensors(tuple(kwargs.values()))]
        ours = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
        target = torch.device(kwargs["device"]).type if kwargs.get("device") is not None else None
        if not ours and target != "cuda" and packet is not aten.to:
            return self._on_the_cpu(func, args, kwargs)
        if packet is aten._has_compatible_shallow_copy_type:
            return False  # so modules take moved parameters as new ones
        if packet is aten.to:  # what it comes to is told only by what it is made of
            with _Operations():
                return func.decompose(*args, **kwargs)
        if packet is aten._to_copy:
            return self._moved(func, args, kwargs, target)
        if packet is aten.copy_:
            return self._copied(*args, **kwargs)
        others = [tensor for tensor in tensors if not isinstance(tensor, GpuTensor) and tensor.dim() > 0]
        if others and ours and packet not in INDEXED:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found cuda:0 and cpu: {func}, {shapes}"
            )
        if packet in WAITING or (others and packet in INDEXED):
            self.wait(str(packet), tensors[0])
        return self._computed(func, args, kwargs, ours)

    def _on_the_cpu(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not kwargs.get("pin_memory"):
            return func(*args, **kwargs)
        return self.pin(func(*args, **kwargs | {"pin_memory": False}))

    def _moved(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], target: str | None) -> torch.Tensor:
        source = args[0]
        plain = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "pin_memory")}
        if isinstance(source, GpuTensor) and target != "cpu":
            return self._computed(func, (source,), plain, [source])
        made = func(_held(source), **plain)
        if isinstance(source, GpuTensor):
            return self._downloaded(self.pin(made) if kwargs.get("non_blocking") else made, made.clone())
        self._uploaded(source, bool(kwargs.get("non_blocking")))
        return GpuTensor(made)

    def _copied(self, target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        if isinstance(target, GpuTensor):
            if not isinstance(source, GpuTensor) and source.dim() > 0:
                self._uploaded(source, non_blocking)
            self._computed(aten.copy_.default, (target, source), {}, [target])
            return target
        if non_blocking and self.is_pinned(target):
            return self._downloaded(target, _held(source).to(target.dtype))
        target.copy_(_held(source))
        return self._waited_for(target)

    def _computed(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], ours: list[GpuTensor]) -> Any:
        held_args = _map(_held, args)
        held_kwargs = {k: "cpu" if k == "device" else _map(_held, v) for k, v in kwargs.items() if k != "pin_memory"}
        result = func(*held_args, **held_kwargs)
        written = [args[place] for place in _written(func) if place < len(args)]
        known = {tensor.held.untyped_storage().data_ptr() for tensor in ours}
        fresh = [t for t in _tensors(result) if t.untyped_storage().data_ptr() not in known]
        if fresh or written:
            self.kernels[getattr(func, "overloadpacket", func).__name__] += 1
            if self.capture is not None and self.capture.thread == threading.get_ident():
                self.capture.operations.append((func, held_args, held_kwargs, fresh and _tensors(result)))
        if written and result is not None:
            return written[0]
        return _map(GpuTensor, result)

    def indexed(self, func: Callable[..., Any], tensor: GpuTensor, index: Any, *value: Any) -> Any:
        """``tensor[index]``, or its assignment."""
        for part in index if isinstance(index, tuple) else (index,):
            if isinstance(part, GpuTensor) and (part.dim() == 0 or part.dtype == torch.bool):
                self.wait("index", part)
            elif isinstance(part, torch.Tensor) and not isinstance(part, GpuTensor) and part.dim() > 0:
                self._uploaded(part, False)
        for new in value:
            if isinstance(new, torch.Tensor) and not isinstance(new, GpuTensor) and new.dim() > 0:
                self._uploaded(new, False)
        return self._computed(func, (tensor, index, *value), {}, [tensor])

    def index_on_the_cpu(self, index: Any) -> Any:
        """An index into a tensor of the CPU; what of it is on the device is fetched."""
        return _map(lambda part: part.cpu() if isinstance(part, GpuTensor) else part, index)

    # -- copies and waits -------------------------------------------------------------------------------------------

    def _uploaded(self, source: torch.Tensor, non_blocking: bool) -> None:
        if not non_blocking or self.capture is not None:
            self.wait("copy to the device", source)
        self._count("to the device", source)

    def _downloaded(self, target: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        if not self.is_pinned(target):
            return self._waited_for(target)
        self._refuse_in_capture("copy to the CPU")
        target.fill_(float("nan") if target.is_floating_point() else 85)  # until somebody waits for the copy
        current_stream().pending.append(lambda: target.copy_(values))
        self._count("to the CPU", target)
        return target

    def _waited_for(self, target: torch.Tensor) -> torch.Tensor:
        self.wait("copy to the CPU", target)
        self._count("to the CPU", target)
        return target

    def _count(self, direction: str, tensor: torch.Tensor) -> None:
        self.copies[direction] += tensor.nbytes
        if current_stream() is not _default:
            self.copies[f"{direction} on a side stream"] += tensor.nbytes

    def wait(self, what: str, tensor: torch.Tensor | None = None) -> None:
        """Note that the calling thread waits for the device, or refuse that in a capture."""
        self._refuse_in_capture(what)
        shape = tuple(tensor.shape) if tensor is not None else ()
        self.waits.append(Wait(what, shape, _line(), threading.current_thread().name))

    def _refuse_in_capture(self, what: str) -> None:
        capture = self.capture
        if capture is not None and (capture.mode == "global" or capture.thread == threading.get_ident()):
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing: {what} at {_line()}")

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Make its memory count as page-locked."""
        storage = tensor.untyped_storage()
        self._pinned[storage.data_ptr()] = storage  # kept, so that no other memory comes to be at its address
        return tensor

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        """Whether its memory counts as page-locked."""
        return not isinstance(tensor, GpuTensor) and tensor.untyped_storage().data_ptr() in self._pinned


# -- torch.cuda -----------------------------------------------------------------------------------------------------


class Stream:
    """An order of work. Kernels have run when they are launched, so all that waits in one are copies to the CPU."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.pending: list[Callable[[], Any]] = []

    def wait_stream(self, other: Stream) -> None:
        self.pending += other.pending

    def wait_event(self, event: Event) -> None:
        self.pending += event.pending

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def synchronize(self) -> None:
        _gpu().wait("Stream.synchronize")
        _finish(self.pending)

    def query(self) -> bool:
        return not self.pending


class Event:
    """A point in a stream."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.pending: list[Callable[[], Any]] = []

    def record(self, stream: Stream | None = None) -> None:
        self.pending = list((stream or current_stream()).pending)

    def wait(self, stream: Stream | None = None) -> None:
        (stream or current_stream()).wait_event(self)

    def synchronize(self) -> None:
        _gpu().wait("Event.synchronize")
        _finish(self.pending)

    def query(self) -> bool:
        return not self.pending

    def elapsed_time(self, other: Event) -> float:
        return 0.0


class CUDAGraph:
    """Recorded operations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.operations: list[tuple[Any, Any, Any, list[torch.Tensor]]] = []

    def replay(self) -> None:
        _gpu().replays += 1
        for func, args, kwargs, outputs in self.operations:
            result = func(*args, **kwargs)
            for kept, new in zip(outputs, _tensors(result)):
                kept.copy_(new)

    def reset(self) -> None:
        self.operations = []


class Capture:
    """``torch.cuda.graph``: what the thread launches meanwhile is recorded and, as its results show, not run."""

    def __init__(self, graph: CUDAGraph, pool: Any = None, stream: Any = None, capture_error_mode: str = "global"):
        self.operations, self.mode, self.thread = graph.operations, capture_error_mode, threading.get_ident()

    def __enter__(self) -> None:
        gpu = _gpu()
        gpu.captures += 1
        gpu.capture = self

    def __exit__(self, *args: Any) -> None:
        _gpu().capture = None
        for *_, outputs in self.operations:
            for output in outputs:
                if output.is_floating_point():
                    output.fill_(float("nan"))


_default = Stream()
_here = threading.local()
_now: list[SimulatedGpu] = []


def current_stream(device: Any = None) -> Stream:
    """The stream that this thread launches into."""
    return getattr(_here, "stream", _default)


@contextmanager
def _in_stream(stream: Stream | None) -> Iterator[None]:
    before = current_stream()
    _here.stream = stream or before
    try:
        yield
    finally:
        _here.stream = before


def _synchronize(device: Any = None) -> None:
    _gpu().wait("torch.cuda.synchronize")
    _finish(_default.pending)


@contextmanager
def simulated_gpu() -> Iterator[SimulatedGpu]:
    """Pretend that this machine has a CUDA device. Threads that begin inside see it, and have to end inside."""
    gpu = SimulatedGpu()
    run = threading.Thread.run

    def run_in_mode(thread: threading.Thread) -> None:
        with _Functions(), _Operations():
            run(thread)

    cuda = {
        "_lazy_init": lambda: None, "is_available": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0,
        "Stream": Stream, "Event": Event, "current_stream": current_stream, "default_stream": lambda *_: _default,
        "stream": _in_stream, "CUDAGraph": CUDAGraph, "graph": Capture, "graph_pool_handle": lambda: (0, 1),
        "synchronize": _synchronize, "empty_cache": lambda: None, "is_bf16_supported": lambda *_, **__: True,
        "memory_allocated": lambda *_: 0, "memory_reserved": lambda *_: 0, "mem_get_info": lambda *_: (2**34, 2**34),
        "is_current_stream_capturing": lambda: gpu.capture is not None,
    }  # fmt: skip
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as undo:
        undo.enter_context(patch.multiple(torch.cuda, **cuda))
        undo.enter_context(patch.object(threading.Thread, "run", run_in_mode))
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        undo.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        _now.append(gpu)
        undo.callback(_now.pop)
        undo.enter_context(_Functions())
        undo.enter_context(_Operations())
        yield gpu


def _gpu() -> SimulatedGpu:
    return _now[-1]


def _indexed(value: Any) -> Any:
    """``cuda`` as ``cuda:0``, for which torch would ask the CUDA that is not there."""
    if isinstance(value, dict):
        return {name: _indexed(item) for name, item in value.items()}
    return DEVICE if isinstance(value, str | torch.device) and str(value) == "cuda" else value


def _held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.held if isinstance(tensor, GpuTensor) else tensor


def _map(change: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """The value with all tensors in it changed; torch's own function for this takes most of the time here."""
    if isinstance(value, torch.Tensor):
        return change(value)
    return type(value)([_map(change, part) for part in value]) if isinstance(value, tuple | list) else value


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, tuple | list) else []


@cache
def _written(func: Any) -> list[int]:
    """The places of the arguments that an operation writes into."""
    if func is operator.setitem:
        return [0]
    arguments = func._schema.arguments if func is not operator.getitem else ()
    return [i for i, about in enumerate(arguments) if about.alias_info is not None and about.alias_info.is_write]


def _finish(pending: list[Callable[[], Any]]) -> None:
    while pending:
        pending.pop(0)()


def _line() -> str:
    """The innermost line of the project's own code that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path != Path(__file__):
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
