"""LoRA files: where they are, and for which kind of model one is. Reads headers alone, so it needs no torch."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artflow.errors import ArtflowError

BUILT_IN = Path(__file__).resolve().parent / "pocket" / "loras"
"""Those that come with the app, for the embedded model."""
NAME = re.compile(r"[^\W_][\w.+ ()\[\]-]{0,199}")
LARGEST_HEADER = 50_000_000  # bytes
SHOWN = 12  # names in a sentence

FAMILIES = {768: "SD 1.5", 1024: "SD 2", 2048: "SDXL"}
"""What models of a width of text are called."""
CROSS_KEYS = re.compile(r"attn2[._](?:processor[._])?to_k[._](?:lora[._])?(?:lora_down|lora_A|down)\b.*weight$")
OTHERS = ("transformer.", "lora_transformer_", "double_blocks", "diffusion_model.", "lora_unet_double_blocks")
"""How keys begin in files for models without a UNet (Flux, SD 3, Wan ...)."""

Shapes = Mapping[str, tuple[int, ...]]


def folders(folder: Path) -> tuple[Path, ...]:
    """Where LoRAs are looked for: the person's own win."""
    return folder, BUILT_IN


def names(folder: Path) -> list[str]:
    """All LoRAs there are: files below ``folder``, and those that come with the app."""
    found = {path.stem for place in folders(folder) if place.is_dir() for path in place.rglob("*.safetensors")}
    return sorted(name for name in found if NAME.fullmatch(name))


def find(name: str, folder: Path) -> Path:
    """The file of the LoRA ``name``: ``<name>.safetensors`` anywhere below ``folder``, else among those of the app.

    Raises:
        ArtflowError: ``unknown_lora``, naming those there are.
    """
    if NAME.fullmatch(name):
        for place in folders(folder):
            for path in sorted(place.rglob("*.safetensors")) if place.is_dir() else ():
                if path.stem == name and path.is_file():
                    return path
    there = names(folder)
    more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
    known = (
        f"there are {', '.join(there[:SHOWN])}{more}"
        if there
        else "none has been put into the folder of models.lora_dir yet"
    )
    raise ArtflowError("unknown_lora", f"There is no LoRA {name[:80]!r}; {known}.")


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a safetensors file.

    Raises:
        ArtflowError: ``bad_lora`` for what is none.
    """
    try:
        return {name: tuple(about["shape"]) for name, about in _header(path).items() if name != "__metadata__"}
    except (TypeError, KeyError) as error:
        raise refused(path.stem, f"{path.name} cannot be read as safetensors ({error})") from None


def trigger(path: Path) -> str:
    """The words that call for a LoRA in a prompt, where its file says so (``modelspec.trigger_phrase``).

    Raises:
        ArtflowError: ``bad_lora`` for what is no safetensors file.
    """
    about = _header(path).get("__metadata__")
    return " ".join(str(about.get("modelspec.trigger_phrase", "")).split())[:80] if isinstance(about, dict) else ""


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        return header
    except (OSError, ValueError, RecursionError, struct.error) as error:
        raise refused(path.stem, f"{path.name} cannot be read as safetensors ({error})") from None


def text_width(of: Shapes) -> int | None:
    """The width of the text that the model of a LoRA is shown, by its cross-attention; None where it has none."""
    return next((shape[1] for key, shape in of.items() if len(shape) > 1 and CROSS_KEYS.search(key)), None)


def check_family(name: str, of: Shapes, title: str, width: int | None) -> None:
    """Refuse a LoRA for another family than that of a model, whose texts are so wide (None: it takes no LoRAs).

    Raises:
        ArtflowError: ``unsuitable_lora``.
    """
    if width is None:
        raise ArtflowError("unsuitable_lora", f"{title} takes no LoRAs; choose a Stable Diffusion model for {name!r}.")
    own = FAMILIES.get(width, title)
    if any(key.startswith(OTHERS) for key in of):
        other = "a model without a UNet (Flux, SD 3 or the like)"
    elif (theirs := text_width(of)) in (None, width):
        return
    else:
        other = FAMILIES.get(theirs or 0, f"a model with texts {theirs} wide")
    raise ArtflowError("unsuitable_lora", f"{name!r} is a LoRA for {other}; this model is {own}.")


def refused(name: str, reason: str) -> ArtflowError:
    """The error for a file that cannot be used; ``reason`` without a full stop."""
    return ArtflowError("bad_lora", f"The LoRA {name!r} cannot be used: {reason}.")
