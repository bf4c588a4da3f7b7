"""Packed weights for CPUs.

oneDNN computes on weights in a blocked order and rearranges plain ones in every call, which takes longer than the
arithmetic for latents as small as those of live pictures. So the blocked order is stored. Inductor does the same, with
the same operators, when it freezes a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, FusedAttnProcessor2_0
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn

if TYPE_CHECKING:
    from artflow.models.model import Model

Forward = Callable[..., torch.Tensor]


def pack(model: Model) -> None:
    """Store the weights of a model's UNet and VAE in oneDNN's blocked order; on CPUs with AVX2 or AVX-512 only.

    In place, so there is still one copy; ``weight.to_dense()`` restores a layer's weights. Query, key and value layers
    with the same input are fused into one. Results differ from the unpacked model by rounding alone.
    """
    if model.device.type != "cpu" or not _has_kernels(model.dtype):
        return
    for part in model.networks:
        for layer in list(part.modules()):
            if isinstance(layer, Attention) and type(layer.processor) is AttnProcessor2_0:
                _fuse(layer)
        for layer in part.modules():
            forward = _packed(layer)
            if forward is not None:
                layer.forward = forward


def apart(network: nn.Module) -> None:
    """Give a copy of a network, packed or not, query, key and value layers of their own again, with packed weights.

    The copy may share its weights with the network: those that are taken apart are new, all others stay shared.
    """
    for layer in network.modules():
        if isinstance(layer, Attention) and "forward" in layer.__dict__:
            _unfuse(layer)
            layer.forward = _attention(layer)  # the one that was copied computes with the layer it was copied from


def _unfuse(layer: Attention) -> None:
    names = {"to_qkv": ("to_q", "to_k", "to_v"), "to_kv": ("to_k", "to_v")}
    for fused, parts in names.items():
        if (one := getattr(layer, fused, None)) is None:
            continue
        weights = one.weight.to_dense().chunk(len(parts))
        biases = [None] * len(parts) if one.bias is None else one.bias.chunk(len(parts))
        for name, weight, bias in zip(parts, weights, biases, strict=True):
            part: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            part.weight = _frozen(weight.contiguous())
            part.bias = None if bias is None else _frozen(bias.contiguous())
            part.forward = _linear(part)
            setattr(layer, name, part)
        delattr(layer, fused)
        layer.fused_projections = False
        layer.set_processor(AttnProcessor2_0())


def _has_kernels(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _packed(layer: nn.Module) -> Forward | None:
    if type(layer) not in (nn.Linear, nn.Conv2d, Attention, AutoencoderTinyBlock):  # subclasses may do more
        return None
    if isinstance(layer, Attention):
        return _attention(layer)
    if isinstance(layer, AutoencoderTinyBlock):
        return _tiny_block(layer) if all(type(act) is nn.ReLU for act in list(layer.conv)[1::2]) else None
    if isinstance(layer, nn.Linear):
        return None if layer.weight.is_mkldnn else _linear(layer)
    assert isinstance(layer, nn.Conv2d)
    usual = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return _convolution(layer) if usual and not layer.weight.is_mkldnn else None


def _fuse(layer: Attention) -> None:
    layer.fuse_projections()
    layer.set_processor(FusedAttnProcessor2_0())
    for name in ("to_k", "to_v") if layer.is_cross_attention else ("to_q", "to_k", "to_v"):
        delattr(layer, name)


def _linear(layer: nn.Linear) -> Forward:
    compute = torch.ops.mkldnn._linear_pointwise.default
    weight = layer.weight = _frozen(torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach()))
    bias = layer.bias

    def forward(input: torch.Tensor) -> torch.Tensor:
        return compute(input, weight, bias, "none", [], "")

    return forward


def _convolution(layer: nn.Conv2d) -> Forward:
    compute, bias = torch.ops.mkldnn._convolution_pointwise.default, layer.bias
    place = (layer.padding, layer.stride, layer.dilation, layer.groups)
    weight: torch.Tensor | None = None

    def forward(input: torch.Tensor, then: str = "none") -> torch.Tensor:
        nonlocal weight
        if weight is None:  # the best order depends on the size of the input; it works for every other size, too
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            weight = layer.weight = _frozen(reorder(layer.weight.detach(), *place, list(input.shape)))
        return compute(input, weight, bias, *place, then, [], "")

    return forward


def _attention(layer: Attention) -> Forward:
    """Attention without diffusers' inspection of the processor's signature in every call."""

    def forward(
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **more: Any,
    ) -> torch.Tensor:
        return layer.processor(layer, hidden_states, encoder_hidden_states, attention_mask, **more)

    return forward


def _tiny_block(block: AutoencoderTinyBlock) -> Forward:
    """A block of the small VAE with each ReLU fused into the convolution before it."""
    first, _, second, _, third = block.conv

    def forward(x: torch.Tensor) -> torch.Tensor:
        inner = second.forward(first.forward(x, "relu"), "relu")
        return third.forward(inner).add_(block.skip(x)).relu_()

    return forward


def _frozen(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)
