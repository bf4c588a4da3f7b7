"""Reading a diffusers folder, part by part.

The libraries' ``from_pretrained`` changes torch's global default dtype during a call that asks for another dtype. Other
models run meanwhile and would draw their noise in it, so that is avoided here: small parts are read in float32 and
converted later, and the UNet is read tensor by tensor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from artflow.models.catalog import ModelSpec
from artflow.models.parts import Parts
from artflow.models.progress import ProgressReporter
from artflow.models.weights import refused, require_weights

CLASSES = {
    "UNet2DConditionModel": UNet2DConditionModel,
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    "CLIPTokenizer": CLIPTokenizer,
}
"""The classes that may be built from a folder; a folder that names another one is refused."""


def read_folder(spec: ModelSpec, folder: Path, dtype: torch.dtype, skip: set[str], progress: ProgressReporter) -> Parts:
    """Read a diffusers folder: UNet, VAE (unless it is in ``skip``), tokenizers, text encoders, scheduler config."""
    index = _index(spec, folder)
    if not index.get("text_encoder") and index.get("text_encoder_2"):
        raise refused(spec.id, "it is an SDXL refiner, which cannot make pictures on its own")
    wanted = [n for n in ("text_encoder", "text_encoder_2", "unet", "vae") if index.get(n) and n not in skip]
    loaded: dict[str, Any] = {}
    for done, name in enumerate(wanted):
        progress.say(f"Loading {spec.title}: {name.replace('_', ' ')}", done / len(wanted))
        names = [p.name for p in (folder / name).iterdir()] if (folder / name).is_dir() else []
        variant, files = require_weights(spec.id, name, names, spec.variant)
        part_class = _class(spec, name, index)
        if name == "unet":
            loaded[name] = _read_unet(folder / name, files, dtype)
        elif name == "vae":
            loaded[name] = read_vae(part_class, folder / name, variant)
        else:
            loaded[name] = part_class.from_pretrained(
                folder,
                subfolder=name,
                variant=variant,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
            )
    tokenizers = [
        _class(spec, n, index).from_pretrained(folder, subfolder=n, local_files_only=True)
        for n in ("tokenizer", "tokenizer_2")
        if index.get(n)
    ]
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Parts(
        unet=loaded["unet"],
        vae=loaded.get("vae"),
        tokenizers=tokenizers,
        text_encoders=[loaded[n] for n in wanted if n.startswith("text_encoder")],
        scheduler_config=scheduler,
    )


def _index(spec: ModelSpec, folder: Path) -> dict[str, str | None]:
    """Component names and their class names, out of ``model_index.json``."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise refused(spec.id, f"{folder} is not a diffusers folder (it has no model_index.json)")
    index = json.loads(path.read_text(encoding="utf-8"))
    found = {k: v[1] for k, v in index.items() if isinstance(v, list) and len(v) == 2}
    for name in ("unet", "vae", "text_encoder", "tokenizer"):
        if not found.get(name) and not (name in ("text_encoder", "tokenizer") and found.get(f"{name}_2")):
            raise refused(
                spec.id, f"it is a {index.get('_class_name', 'model')} without {name}, not a Stable Diffusion"
            )
    return found


def _class(spec: ModelSpec, name: str, index: dict[str, str | None]) -> Any:
    class_name = str(index[name]).removesuffix("Fast")  # CLIPTokenizerFast is what older folders say
    if class_name not in CLASSES:
        raise refused(spec.id, f"its {name} is a {class_name}; allowed are {', '.join(CLASSES)}")
    return CLASSES[class_name]


def read_vae(vae_class: Any, folder: Path, variant: str | None) -> Any:
    """An autoencoder of the folder that holds its config and weights, in float32."""
    return vae_class.from_pretrained(
        folder,
        variant=variant,
        torch_dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        low_cpu_mem_usage=False,
    )


def _read_unet(folder: Path, files: list[str], dtype: torch.dtype) -> UNet2DConditionModel:
    """The UNet, tensor by tensor in ``dtype``, because a float32 copy of it may not fit into memory."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder))
    weights: dict[str, torch.Tensor] = {}
    for name in files:
        if name.endswith(".safetensors"):
            weights |= {key: tensor.to(dtype) for key, tensor in load_file(folder / name).items()}
    unet.load_state_dict(weights, assign=True)
    return unet
