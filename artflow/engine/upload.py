"""From the CPU's memory to the device's."""

from __future__ import annotations

import torch


def upload(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on the device; it may be let go at once.

    CUDA takes a copy of ordinary memory before it returns, so there nothing waits for what the device still computes.
    MPS reads it later, when it may be gone (before torch 2.13), so there the copy is waited for.
    """
    return values.to(device, non_blocking=device.type == "cuda")
