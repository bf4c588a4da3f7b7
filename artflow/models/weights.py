"""Which weight files of a diffusers folder are loaded. Works on names, for folders and Hub listings alike."""

from __future__ import annotations

import re
from collections.abc import Iterable

from artflow.errors import ArtflowError

UNSAFE_SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")

STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
    "clip": "model",
    "controlnet": "diffusion_pytorch_model",
}
"""Networks that have weights, and what their files are called; the last two are repositories of their own."""

PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
"""Those that a pipeline has."""


def choose_weights(names: Iterable[str], stem: str, variant: str | None) -> tuple[str | None, list[str]] | None:
    """The variant to load and its files, out of the file ``names`` of one component folder.

    The wanted ``variant`` first, then plain files, then ``fp16``. Sharded weights come with their index and count
    only when complete. ``None`` if there is nothing to load.
    """
    names = list(names)
    for candidate in dict.fromkeys([variant, None, "fp16"]):
        tag = rf"\.{re.escape(candidate)}" if candidate else ""
        # Diffusers writes name.fp16-00001-of-00002, older files are called name-00001-of-00002.fp16.
        whole = re.compile(rf"{stem}{tag}\.safetensors")
        shard = re.compile(rf"{stem}(?:{tag}-\d+-of-(\d+)|-\d+-of-(\d+){tag})\.safetensors")
        index = re.compile(rf"{stem}(?:{tag}\.safetensors\.index|\.safetensors\.index{tag})\.json")
        if single := [n for n in names if whole.fullmatch(n)]:
            return candidate, single
        shards = [(n, int(m[1] or m[2])) for n in names if (m := shard.fullmatch(n))]
        indices = [n for n in names if index.fullmatch(n)]
        if shards and indices and len(shards) == shards[0][1]:
            return candidate, [*indices, *(n for n, _ in shards)]
    return None


def require_weights(model: str, part: str, names: Iterable[str], variant: str | None) -> tuple[str | None, list[str]]:
    """As `choose_weights`, for a ``part`` of ``model``; raises where there is nothing to load.

    Raises ``ArtflowError``: ``unsafe_weights`` where only pickled files are there, ``model_load_failed`` where none.
    """
    names = list(names)
    chosen = choose_weights(names, STEMS[part], variant)
    if chosen is not None:
        return chosen
    if pickled := [n for n in names if is_unsafe(n)]:
        raise unsafe(f"{model}: {part}/{pickled[0]}")
    raise ArtflowError(
        "model_load_failed", f"{model} could not be loaded: there are no .safetensors weights in {part}/."
    )


def is_unsafe(name: str) -> bool:
    """Whether this is a file that runs code when it is opened (pickle)."""
    return name.lower().endswith(UNSAFE_SUFFIXES)


def unsafe(what: str) -> ArtflowError:
    """The error for a pickled file."""
    return ArtflowError(
        "unsafe_weights",
        f"{what} is a pickled file, which can run any code when it is opened; only .safetensors weights are loaded.",
    )


def refused(model: str, reason: str) -> ArtflowError:
    """The error for a model that cannot be loaded; ``reason`` follows "could not be loaded:", without a full stop."""
    return ArtflowError("model_load_failed", f"{model} could not be loaded: {reason}.")
