"""What is in a LoRA file, brought to diffusers' names by diffusers' own converters, and put into a network.

Files of kohya's scripts, diffusers, PEFT and OneTrainer are read: flattened names and dotted ones, for the UNet and the
text towers, with a rank and an alpha for each layer, or without alphas (then as large as the rank).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import nn

from artflow.models import lora_files
from artflow.models.lora_files import refused

if TYPE_CHECKING:
    from artflow.models.families.unet import UNetModel

warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several adapters are what is wanted

Tensors = dict[str, torch.Tensor]

TOWERS = ("text_encoder", "text_encoder_2")
DOTTED = re.compile(r"(?P<part>[^.]+)\.(?P<layer>.+\..+)\.(?P<end>lora_down\.weight|lora_up\.weight|alpha)")
FLATTENED = re.compile(r"(?P<layer>lora_(?:unet|te1?|te2)_[^.]+)\.(?P<end>lora_down\.weight|lora_up\.weight|alpha)")
PARTS = {
    "lora_unet": "lora_unet", "unet": "lora_unet",
    "lora_te": "lora_te", "te": "lora_te", "lora_te1": "lora_te1", "te1": "lora_te1", "clip_l": "lora_te1",
    "text_encoder": "lora_te1", "lora_te2": "lora_te2", "te2": "lora_te2", "clip_g": "lora_te2",
    "text_encoder_2": "lora_te2",
}  # fmt: skip
"""What the parts of a model are called before dotted names, and in kohya's flattened ones."""
PEFT = "base_model.model."
KINDS = {"hada_": "a LoHa", "lokr_": "a LoKr", "dora_scale": "a DoRA", "lora_magnitude": "a DoRA", "oft_": "an OFT"}
"""What other kinds of adapters have in their keys."""
SIZES = {nn.Linear: ("in_features", "out_features"), nn.Conv2d: ("in_channels", "out_channels")}
METADATA = "lora_adapter_metadata"
"""Where diffusers keeps what `LoraConfig` was made with."""


@dataclass(frozen=True)
class LoraWeights:
    """A file's tensors under diffusers' names: ``unet.``, ``text_encoder.``, ``text_encoder_2.`` and the layer's.

    ``alphas`` are by the same names without what follows the layer's; ``config`` is diffusers' own, where it is there.
    """

    name: str
    tensors: Tensors
    alphas: Mapping[str, float]
    config: Mapping[str, Any] | None

    def has(self, part: str) -> bool:
        """Whether it changes a part of the model."""
        return any(key.startswith(f"{part}.") for key in self.tensors)


def check(name: str, path: Path, model: UNetModel) -> lora_files.Shapes:
    """The shapes of a file's tensors, by its header alone, unless it is nothing for a model.

    Raises:
        ArtflowError: as `read`.
    """
    of = lora_files.shapes(path)
    for mark, kind in KINDS.items():
        if any(mark in key for key in of):
            raise refused(name, f"it is {kind}, which is another kind of adapter than a LoRA")
    lora_files.check_family(name, of, model.spec.title, model.text_width)
    return of


def read(name: str, path: Path, model: UNetModel) -> LoraWeights:
    """The weights of a file for a model, in its dtype and on its device.

    Raises:
        ArtflowError: ``unsuitable_lora`` for another family, ``bad_lora`` for what is no LoRA, naming a key.
    """
    of = check(name, path, model)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in of}
        said = (file.metadata() or {}).get(METADATA)
    plain = _plain(tensors)
    try:
        found, alphas = model.lora_loader.lora_state_dict(plain, unet_config=model.unet.config)
    except (ValueError, KeyError) as error:  # it names the keys that it does not know
        raise refused(name, " ".join(str(error).split())[:300].rstrip(".")) from None
    foreign = [key for key in found if not key.startswith(("unet.", "text_encoder.", "text_encoder_2."))]
    if foreign or not found:
        raise refused(name, f"{_shown(foreign)} fit nothing in this model" if foreign else "it is empty")
    moved = {key: value.to(model.device, model.dtype) for key, value in found.items()}
    try:
        config = json.loads(said) if said else None
    except ValueError:
        raise refused(name, "its metadata are no JSON") from None
    return LoraWeights(name, moved, _by_layer(alphas or {}), config)


def put(weights: LoraWeights, adapter: str, part: str, network: nn.Module, loader: Any) -> None:
    """Add an adapter to a network, which is the ``part`` of the model.

    Raises:
        ArtflowError: ``bad_lora``, naming a key that fits nothing; the network is of no more use then.
    """
    from artflow.models.adapted import layers

    mine = {key: value for key, value in weights.tensors.items() if key.startswith(f"{part}.")}
    _check(weights.name, part, mine, network)
    given: dict[str, Any] = {"network_alphas": None, "adapter_name": adapter, "low_cpu_mem_usage": True}
    config = {k: v for k, v in (weights.config or {}).items() if k.startswith(f"{part}.")} or None
    try:
        if part == "unet":
            loader.load_lora_into_unet(mine, unet=network, metadata=config, **given)
        else:
            loader.load_lora_into_text_encoder(mine, text_encoder=network, prefix=part, metadata=config, **given)
    except (ValueError, KeyError, RuntimeError) as error:
        raise refused(weights.name, " ".join(str(error).split())[:300].rstrip(".")) from None
    for name, layer in layers(network).items():
        if adapter in layer.r:
            layer.requires_grad_(False)
            alpha = weights.alphas.get(f"{part}.{name}", weights.alphas.get(f"{part}.text_model.{name}"))
            if alpha is not None:
                layer.scaling[adapter] = alpha / layer.r[adapter]


def fuse(model: UNetModel, name: str, path: Path) -> None:
    """Add a LoRA to the weights of a model's UNet for good, before anybody computes with it.

    Raises:
        ArtflowError: as `read` and `put`.
    """
    put(read(name, path, model), name, "unet", model.unet, model.lora_loader)
    model.unet.fuse_lora()
    model.unet.unload_lora()


def _plain(tensors: Tensors) -> Tensors:
    """The tensors under names that diffusers' converters take, and an alpha for each flattened layer that has none."""
    tensors = {key.removeprefix(PEFT): value for key, value in tensors.items()}
    if not any(key.startswith(("unet.", "text_encoder", "lora_")) or DOTTED.fullmatch(key) for key in tensors):
        return {f"unet.{key}": value for key, value in tensors.items()}  # PEFT's own, saved from the UNet alone
    two = any(key.startswith(("lora_te2", "te2.", "clip_g.", "text_encoder_2.")) for key in tensors)
    plain: Tensors = {}
    for key, value in tensors.items():
        if (dotted := DOTTED.fullmatch(key)) and (part := PARTS.get(dotted["part"])):
            part = "lora_te" if part == "lora_te1" and not two else part
            key = f"{part}_{dotted['layer'].replace('.', '_')}.{dotted['end']}"
        plain[key] = value
    for key in [key for key in plain if FLATTENED.fullmatch(key) and key.endswith(".lora_down.weight")]:
        layer = key.removesuffix(".lora_down.weight")
        plain.setdefault(f"{layer}.alpha", torch.tensor(float(plain[key].shape[0])))
    return plain


def _by_layer(alphas: Mapping[str, float]) -> dict[str, float]:
    """Alphas by the names of their layers: diffusers' have its older names, and ends of names of tensors."""
    return {_layer(key.removesuffix(".alpha")): float(alpha) for key, alpha in alphas.items()}


def _layer(name: str) -> str:
    towers = name.startswith("text_encoder")
    name = re.sub(r"(_lora|\.lora|\.lora_linear_layer)\.down\.weight$", "", name).replace(".processor.", ".")
    found = re.fullmatch(r"(.*)\.to_(q|k|v|out)", name)
    if towers and found:
        return f"{found[1]}.{found[2]}_proj"
    return f"{name}.0" if found and found[2] == "out" else name


def _check(name: str, part: str, mine: Tensors, network: nn.Module) -> None:
    """Refuse tensors that fit no layer of the network, by name or shape."""
    from diffusers.utils import (
        convert_state_dict_to_diffusers,
        convert_state_dict_to_peft,
        convert_unet_state_dict_to_peft,
    )

    bare = {key.removeprefix(f"{part}."): value for key, value in mine.items()}
    if part == "unet":
        bare = bare if any("lora_A" in key for key in bare) else convert_unet_state_dict_to_peft(bare)
    else:
        try:
            bare = convert_state_dict_to_peft(convert_state_dict_to_diffusers(bare))
        except ValueError:
            raise refused(name, f"{_shown(list(bare))} fit nothing in the {part} of this model") from None
        if not hasattr(network, "text_model"):
            bare = {key.removeprefix("text_model."): value for key, value in bare.items()}
    modules = dict(network.named_modules())
    wrong = []
    for key, value in bare.items():
        layer, _, end = key.rpartition(".lora_")
        side = 1 if end == "A.weight" else 0
        module = modules.get(layer)
        module = getattr(module, "base_layer", module)
        sizes = SIZES.get(type(module))
        if end not in ("A.weight", "B.weight") or sizes is None or value.ndim < 2:
            wrong.append(key)
        elif value.shape[side] != getattr(module, sizes[1 - side]):
            wrong.append(f"{key} of {value.shape[side]}")
    if wrong:
        raise refused(name, f"{_shown(wrong)} fit nothing in the {part} of this model")


def _shown(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(keys[:3]) + more
