"""ControlNets (2302.05543) and T2I-Adapters (2302.08453): pictures that steer the rows of a call.

A model holds the networks that it was asked for (`Model.control_networks`). Only rows that have control go through
them; what they give is added to zeros for all rows of the call, which so stays one call of the UNet.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ControlNetModel, T2IAdapter
from safetensors import safe_open

from artflow.errors import ArtflowError
from artflow.models import hub
from artflow.models.catalog import Source
from artflow.models.control_catalog import load_controls, network_id
from artflow.models.dtypes import memory_format
from artflow.models.progress import no_progress
from artflow.models.room import check_room
from artflow.models.weight_loading import weight_loading_lock
from artflow.models.weights import refused, require_weights

if TYPE_CHECKING:
    from artflow.models.extras import Control, Extras
    from artflow.models.families.unet import UNetModel

    Tensors = Mapping[str, torch.Tensor]

KINDS: dict[str, type[ControlNetModel] | type[T2IAdapter]] = {
    "ControlNetModel": ControlNetModel,
    "T2IAdapter": T2IAdapter,
}
"""The classes that a folder may name."""

SOFTER = 0.825  # from one layer to the one before it, as Stable Diffusion web UI's extension has it
SOFT_ADAPTER = (0.25, 0.62, 0.825, 1.0)  # the same for the four outputs of an adapter
MATCHING = ("block_out_channels", "down_block_types", "layers_per_block", "addition_embed_type")
"""What a ControlNet's config has in common with that of its UNet, beside the width of the text."""


def load_network(
    source: Source, model: UNetModel, on_progress: hub.OnProgress = no_progress
) -> ControlNetModel | T2IAdapter:
    """A network on the model's device and in its dtype, downloaded first where it is on the Hub and not yet here.

    Raises:
        ArtflowError: ``model_load_failed`` where it is not for this model, ``unsafe_weights``, ``download_failed``,
            ``not_enough_memory``.
    """
    name = network_id(source)

    def admit(files: Mapping[str, int]) -> None:
        check_room(name, files, model.dtype, str(model.device))

    if source.file is not None:
        admit({source.file.name: source.file.stat().st_size})
        network: ControlNetModel | T2IAdapter = _read_file(name, source.file, model)
    else:
        folder = source.folder
        if folder is None:
            folder = hub.download_network(source.hub or "", "controlnet", admit=admit, on_progress=on_progress)
        admit({file.name: file.stat().st_size for file in folder.glob("*.safetensors")})
        network = _read_folder(name, folder, model)
    network.to(model.device, model.dtype, memory_format=memory_format(model.device))
    return network.requires_grad_(False).eval()


def residuals(
    model: UNetModel, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Tensors, extras: Sequence[Extras]
) -> dict[str, Any]:
    """What the UNet is given beside its rows, by the names of its arguments; nothing where no row has control.

    ``latents`` (n, channels, height, width) are without the mask of an inpaint model, ``extras[i]`` are those of row i.

    Raises:
        ArtflowError: ``control_gone`` where a network is not there any more.
    """
    wanted: dict[str, list[tuple[int, Control]]] = {}
    for row, extra in enumerate(extras):
        for control in extra.controls:
            wanted.setdefault(control.network, []).append((row, control))
    added: dict[str, list[torch.Tensor]] = {}
    for name, rows in wanted.items():
        if (network := model.control_networks.get(name)) is None:
            raise ArtflowError("control_gone", f"{name} has made room for other networks; ask for it again.")
        hints = torch.stack([control.hint for _, control in rows]).to(model.dtype)
        hints = hints.contiguous(memory_format=memory_format(model.device))
        if isinstance(network, T2IAdapter):
            features = network(hints)
            softened = SOFT_ADAPTER[: len(features)]
            _scatter(added.setdefault("adapter", []), features, rows, len(latents), softened)
            continue
        chosen = [row for row, _ in rows]

        def of(values: torch.Tensor, chosen: list[int] = chosen) -> torch.Tensor:
            return values if chosen == list(range(len(values))) else torch.stack([values[row] for row in chosen])

        down, mid = network(
            of(latents).to(model.dtype).contiguous(memory_format=memory_format(model.device)),
            of(timesteps),
            encoder_hidden_states=of(inputs["text"]),
            controlnet_cond=hints,
            added_cond_kwargs=model.added_conditions({key: of(value) for key, value in inputs.items()}),
            return_dict=False,
        )
        softened = tuple(SOFTER ** (len(down) - i) for i in range(len(down) + 1))
        _scatter(added.setdefault("controlnet", []), [*down, mid], rows, len(latents), softened)
    given: dict[str, Any] = {}
    if "controlnet" in added:
        *down, mid = added["controlnet"]
        given |= {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": mid}
    if "adapter" in added:
        given["down_intrablock_additional_residuals"] = added["adapter"]  # the UNet takes them out of the list
    return given


def _scatter(
    sums: list[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    rows: Sequence[tuple[int, Control]],
    count: int,
    softened: Sequence[float],
) -> None:
    """Add a network's outputs, weighted, to the sums of all rows, which begin as zeros. ``rows[i]`` has output i."""
    if not sums:
        sums += [output.new_zeros(count, *output.shape[1:]) for output in outputs]
    for total, output, less in zip(sums, outputs, softened, strict=True):
        for (row, control), values in zip(rows, output, strict=True):
            total[row].add_(values, alpha=control.weight * (less if control.soft else 1))


def _read_folder(name: str, folder: Path, model: UNetModel) -> ControlNetModel | T2IAdapter:
    path = folder / "config.json"
    if not path.is_file():
        raise refused(name, f"{folder} has no config.json")
    config = json.loads(path.read_text(encoding="utf-8"))
    if (kind := KINDS.get(config.get("_class_name", ""))) is None:
        raise refused(name, f"it is a {config.get('_class_name', 'model')}; allowed are {', '.join(KINDS)}")
    _check(name, config, model)
    variant, _ = require_weights(name, "controlnet", [file.name for file in folder.iterdir()], None)
    with weight_loading_lock():
        return kind.from_pretrained(  # as `read_vae`: in float32, since another dtype would be set for all threads
            folder, variant=variant, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True,
            low_cpu_mem_usage=False,
        )  # fmt: skip


def _read_file(name: str, file: Path, model: UNetModel) -> ControlNetModel:
    """A ControlNet in one file, in the layout of diffusers or of the original code: its config is the UNet's."""
    with safe_open(str(file), "pt") as tensors:
        keys = list(tensors.keys())
        texts = [tensors.get_slice(key).get_shape()[1] for key in keys if key.endswith("attn2.to_k.weight")]
    if not texts or not any("zero_conv" in key or "controlnet" in key for key in keys):
        raise refused(name, "it is not a ControlNet")
    if texts[0] != model.unet.config.cross_attention_dim:
        raise refused(name, _other_family("ControlNet", texts[0], model))
    with tempfile.TemporaryDirectory(prefix="artflow-") as folder, weight_loading_lock():
        with torch.device("meta"):
            ControlNetModel.from_unet(model.unet, load_weights_from_unet=False).save_config(folder)
        return ControlNetModel.from_single_file(
            str(file), config=folder, torch_dtype=torch.float32, local_files_only=True
        )


def _check(name: str, config: Mapping[str, Any], model: UNetModel) -> None:
    """Refuse a network that is for other models, by its config.

    Raises:
        ArtflowError: ``model_load_failed``.
    """
    unet = model.unet.config
    if config["_class_name"] == "T2IAdapter":
        channels = list(config["channels"])[: len(unet.block_out_channels)]
        if channels != list(unet.block_out_channels):
            raise refused(name, f"it is a T2I-Adapter for blocks of {channels} channels; {model.spec.title} has others")
        return
    width = config.get("cross_attention_dim", 1280)
    if width != unet.cross_attention_dim:
        raise refused(name, _other_family("ControlNet", width, model))
    if config.get("in_channels", 4) != unet.out_channels:
        raise refused(name, f"it takes {config.get('in_channels', 4)} channels, and latents have {unet.out_channels}")
    for key in MATCHING:
        if key in config and _plain(config[key]) != _plain(unet[key]):
            raise refused(name, f"its {key} is {config[key]}, and {model.spec.title} has {unet[key]}")


def _other_family(what: str, width: int, model: UNetModel) -> str:
    catalog = load_controls()
    mine = catalog.family_name(model.unet.config.cross_attention_dim)
    return f"it is a {what} for {catalog.family_name(width)}; {model.spec.title} is of {mine}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
