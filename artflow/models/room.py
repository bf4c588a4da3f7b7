"""Whether a model fits into the memory that is free, found out from the sizes of its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil
import torch

from artflow.errors import ArtflowError

BESIDE = 1.2  # what a model needs over its weights: buffers while it is read, and the first pictures
HALF = (".fp16.", ".bf16.", ".fp16-", ".bf16-")  # in names of files with two bytes a weight; others are taken for four


def check_room(title: str, files: Mapping[str, int], dtype: torch.dtype, device: str) -> None:
    """Refuse a model whose weights do not fit into the memory that is free.

    ``files`` are names and sizes in bytes; all but safetensors are ignored.

    Raises:
        ArtflowError: ``not_enough_memory``, with what it needs and what is free.
    """
    needed, free = BESIDE * weights_in_memory(files, dtype), free_memory(device)
    if free is not None and needed > free:
        where = "GPU memory" if device.startswith("cuda") else "memory"
        sentence = f"{title} needs about {needed / 1e9:.1f} GB of {where}, and {free / 1e9:.1f} GB are free."
        raise ArtflowError("not_enough_memory", f"{sentence} Choose a smaller model.")


def weights_in_memory(files: Mapping[str, int], dtype: torch.dtype) -> float:
    """Bytes that the weights of these files take as ``dtype``."""
    width = torch.empty(0, dtype=dtype).element_size()
    weights = {name: size for name, size in files.items() if name.endswith(".safetensors")}
    return sum(size * width / (2 if any(part in name for part in HALF) else 4) for name, size in weights.items())


def free_memory(device: str, groups: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Bytes that can be taken on a device; None where that is not known (``mps`` shares it in its own way).

    A container's limit counts where it is less than what the machine has: ``groups`` is where Linux tells it
    (https://docs.kernel.org/admin-guide/cgroup-v2.html#memory). Files in its cache count as free.
    """
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    if device != "cpu":
        return None
    free = psutil.virtual_memory().available
    try:
        limit, used = (int((groups / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (groups / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return min(free, limit - used + sum(int(stat.get(name, 0)) for name in ("inactive_file", "active_file")))
