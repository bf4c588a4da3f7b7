"""Two processes that train one model and never wait for each other.

On a machine whose cores are also used by others, two threads that meet at every kernel run at the pace of the slower
one, or far below it. Here each process keeps one core and its own batches; now and then it leaves its weights in a
file and moves halfway to the last ones that the other left (asynchronous local SGD with averaging, cf. 1808.07217).
A peer that stands still is not waited for and not listened to.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


class Peer:
    """``name`` is this process's, ``other`` the one whose weights it moves towards; both live in ``folder``."""

    def __init__(self, folder: Path, name: str, other: str, parameters: list[nn.Parameter]) -> None:
        self.own, self.other, self.parameters = folder / f"peer_{name}.pt", folder / f"peer_{other}.pt", parameters
        self.own.unlink(missing_ok=True)
        self.seen = self.other.stat().st_mtime_ns if self.other.exists() else 0  # what an earlier run left is stale

    @torch.no_grad()
    def meet(self) -> bool:
        """Leave our weights; go halfway to the other's if they are new. True where they were."""
        partial = self.own.with_suffix(".partial")
        torch.save([p.data for p in self.parameters], partial)
        partial.replace(self.own)
        stamp = self.other.stat().st_mtime_ns if self.other.exists() else 0
        if stamp <= self.seen:
            return False
        self.seen = stamp
        weights = torch.load(self.other, map_location=self.parameters[0].device, weights_only=True)
        torch._foreach_lerp_(self.parameters, weights, 0.5)
        return True
