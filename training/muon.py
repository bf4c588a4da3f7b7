"""The optimizer of denoiser and decoder: Muon for matrices and convolutions, AdamW for all else.

Muon (https://kellerjordan.github.io/posts/muon/) steps along the nearest orthogonal matrix to the momentum, so that
rare directions count as much as common ones. What that gained is in the README.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Muon:
    """Looks like one optimizer over ``groups`` ({"params", "scale"}, as AdamW takes them; rates are set from outside).

    Of the groups' parameters those in ``matrices`` are trained by Muon, a convolution as the matrix [out, in * h * w].
    Its rate is AdamW's own: updates are scaled to the size that AdamW's have (2502.16982).
    """

    def __init__(self, groups: list[dict[str, Any]], matrices: list[nn.Parameter], rate: float) -> None:
        self.matrices = matrices
        self.flat = [nn.Parameter(_flat(p.detach())) for p in matrices]  # the same memory, in two dimensions
        assert all(f.data_ptr() == p.data_ptr() for f, p in zip(self.flat, matrices, strict=True))
        taken = {id(p) for p in matrices}
        rest = [{**group, "params": [p for p in group["params"] if id(p) not in taken]} for group in groups]
        self.adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.muon = torch.optim.Muon(self.flat, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        self.muon.param_groups[0]["scale"] = 1.0
        self.param_groups = [*self.adam.param_groups, *self.muon.param_groups]

    def step(self) -> None:
        """One update from the gradients that the parameters hold."""
        for flat, parameter in zip(self.flat, self.matrices, strict=True):
            flat.grad = None if parameter.grad is None else _flat(parameter.grad)
        self.adam.step()
        self.muon.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.adam.zero_grad(set_to_none=True)
        for parameter in (*self.flat, *self.matrices):
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What ``state_dict`` gave."""
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])
        self.param_groups = [*self.adam.param_groups, *self.muon.param_groups]


def over(module: nn.Module, rate: float, more: Sequence[dict[str, Any]] = ()) -> Muon:
    """Over a module, channels last, and ``more`` groups of AdamW's.

    The first and the last convolution stay AdamW's too, as Muon's author advises.
    """
    convolutions = [p for p in module.parameters() if p.ndim == 4]
    ends = {id(convolutions[0]), id(convolutions[-1])}
    matrices = [p for p in module.parameters() if p.ndim in (2, 4) and id(p) not in ends]
    return Muon([{"params": list(module.parameters()), "scale": 1.0}, *more], matrices, rate)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """[out, in, h, w], channels last, or [out, in] as [out, everything]: a view."""
    return tensor.permute(0, 2, 3, 1).flatten(1) if tensor.ndim == 4 else tensor
