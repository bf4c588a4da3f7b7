"""Optional accelerations of a loaded model (xformers, compile ...), chosen by the operator.

One that is not installed, or that fails on first use, is reported in one sentence, and the plain model runs instead.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from artflow.models.model import Model

log = logging.getLogger(__name__)

Kind = Literal["none", "xformers", "tensorrt", "compile", "openvino"]

MODULES = {"xformers": "xformers", "tensorrt": "torch_tensorrt", "openvino": "openvino"}
"""The module that each of them needs."""

# What the wheels themselves require of torch (PyPI, November 2026); from 0.0.34 on they are built for its stable ABI.
XFORMERS = {"2.8.0": "0.0.32.post2", "2.9.0": "0.0.33.post1", "2.9.1": "0.0.33.post2"}
XFORMERS_SINCE = ((2, 10), "0.0.35")

SHAPES = 64  # that one model is compiled for


@dataclass(eq=False)
class Acceleration:
    """The acceleration that was asked for and the one that is active, which can change on first use."""

    asked: Kind
    active: Kind = "none"
    problem: str | None = None
    """Why the wanted acceleration is not active, for display; with the install command, where there is one."""
    _undo: list[Callable[[], None]] = field(default_factory=list, repr=False)

    @property
    def fixed_batches(self) -> bool:
        """Whether batches should keep to few sizes, since each new one costs a compilation."""
        return self.active == "compile"

    def remove(self) -> None:
        """Undo the acceleration: the model runs plain again."""
        while self._undo:
            self._undo.pop()()
        self.active = "none"

    def give_up(self, problem: str) -> None:
        """Call `remove` and note ``problem`` as the reason."""
        self.remove()
        self.problem = problem
        log.warning("%s", problem)


def accelerate(model: Model, kind: Kind, engine_dir: Path | None = None) -> Acceleration:
    """Accelerate ``model`` in place. Never raises: ``problem`` of the result says what failed.

    Compiled code is cached in ``engine_dir`` under the compiler's own keys (code, shapes, batch), for the next start.

    ``compile`` compiles the UNet and the VAE's decoder with fixed shapes when they are first called, which takes
    seconds (small models) to minutes per shape; if a compilation fails, the result changes at that moment.
    """
    result = Acceleration(asked=kind)
    if kind == "none":
        return result
    if kind == "compile":
        if engine_dir is not None:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(engine_dir.resolve()))
        _compile(model, result)
        return result
    if find_spec(MODULES[kind]) is None:
        result.give_up(f"{kind} is not installed, so the plain path runs; install it with: {install_command(kind)}")
    elif kind == "xformers":
        _xformers(model, result)
    elif kind == "openvino":
        _openvino(model, result, engine_dir)
    else:
        result.give_up(f"{kind} is installed, but this version cannot run models on it; choose none or compile.")
    return result


def _openvino(model: Model, result: Acceleration, engine_dir: Path | None) -> None:
    from artflow.models.openvino import NotForOpenVino, accelerate_with_openvino

    try:
        result._undo += accelerate_with_openvino(model, engine_dir)
    except NotForOpenVino as error:
        result.give_up(f"openvino cannot run this model, so the plain path runs: {error}.")
    except Exception as error:
        log.exception("openvino")
        result.give_up(f"openvino could not convert the model, so the plain path runs: {_first_line(error)}")
    else:
        result.active = "openvino"


def requirement(kind: str) -> Requirement:
    """The release of the package of one of `MODULES` that fits the installed torch."""
    torch = Version(metadata.version("torch"))
    if kind == "openvino":
        return Requirement("openvino>=2025.0")
    if kind == "tensorrt":
        return Requirement(f"torch-tensorrt=={torch.major}.{torch.minor}.*")
    since, version = XFORMERS_SINCE
    wanted = version if torch.release[:2] >= since else XFORMERS.get(torch.base_version)
    return Requirement(f"xformers=={wanted}" if wanted else "xformers")


def install_command(kind: str) -> str:
    """The command that installs it. xformers alone: pip would put another torch beside it, for CUDA or for nothing."""
    alone = "--no-deps " if kind == "xformers" else ""
    return f'pip install {alone}"{requirement(kind)}"'


def _xformers(model: Model, result: Acceleration) -> None:
    if model.device.type != "cuda":
        result.give_up(f"xformers needs a CUDA GPU and the model is on {model.device.type}, so the plain path runs.")
        return
    try:
        for part in model.networks:
            part.enable_xformers_memory_efficient_attention()
    except Exception as error:  # noqa: BLE001 - a build for another torch or GPU fails in its own ways
        result.give_up(f"xformers could not be used, so the plain path runs: {_first_line(error)}")
        return
    result.active = "xformers"
    result._undo += [part.disable_xformers_memory_efficient_attention for part in model.networks]


def _compile(model: Model, result: Acceleration) -> None:
    result.active = "compile"
    for module in model.compilable:
        _guard(module, result)


def _guard(module: Any, result: Acceleration) -> None:
    """Compile ``module.forward``; if the compiler fails, go back to the plain one. Errors of the input are raised.

    Out of memory is no failure of the compiler: it is raised, and the next call is compiled code again.
    """
    import torch

    plain = module.forward
    compiled = torch.compile(plain, dynamic=False)

    def forward(*args: Any, **kwargs: Any) -> Any:
        if result.active != "compile":
            return plain(*args, **kwargs)
        _allow_shapes()
        try:
            return compiled(*args, **kwargs)
        except Exception as error:  # compilers fail in many ways, and none of them may stop a picture
            if _out_of_memory(error):
                raise
            problem = _first_line(error)
        # Only here, where the error is gone: its traceback holds the tensors of the call that failed.
        output = plain(*args, **kwargs)  # raises too if it is the input that is wrong
        result.give_up(f"The model could not be compiled, so the plain path runs: {problem}{_hint()}")
        return output

    module.forward = forward
    result._undo.append(lambda: module.__dict__.pop("forward", None))


def _allow_shapes() -> None:
    """Let torch compile code for each batch bucket and size; beyond its own limit of 8 it would silently stop.

    The limit belongs to the thread that compiles, from torch 2.12 on.
    """
    import torch

    if torch._dynamo.config.recompile_limit < SHAPES:
        torch._dynamo.config.recompile_limit = SHAPES


def _out_of_memory(error: BaseException | None) -> bool:
    """Whether a failure comes from that; compilers wrap what they meet into errors of their own."""
    import torch

    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__cause__ or error.__context__
    return error is not None


def _hint() -> str:
    if sys.platform == "win32":
        return " (a CPU needs the Visual C++ build tools; an NVIDIA GPU needs: pip install triton-windows)"
    if platform.system() == "Darwin":
        return " (a CPU needs a C++ compiler: xcode-select --install)"
    return " (a CPU needs a C++ compiler: apt-get install g++; an NVIDIA GPU needs: pip install triton)"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300] + "."
