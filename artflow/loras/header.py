"""What the header of a safetensors file says; its weights are not read.

The format: eight bytes of length, little endian, a JSON object of so many bytes, and the tensors without gaps
(https://huggingface.co/docs/safetensors#format). So the header tells how long the whole file must be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from artflow.errors import ArtflowError

LENGTH = 8  # bytes
LONGEST = 10_000_000  # bytes of a header; those of LoRAs have under a megabyte, with a long metadata some

BASES = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""The width of the prompt that cross-attention reads (768: SD 1, 1024: SD 2, 2048: SDXL)."""
READS_PROMPT = ("attn2_to_k", "attn2.to_k", "attn2_to_v", "attn2.to_v", "attn2.processor.to_k_lora")
DOWN = ("lora_down.weight", "lora_a.weight", "lora.down.weight", "_lora.down.weight", "hada_w1_b", "lokr_w2_b")
MARKS = ("lora", "hada_w", "lokr_", "oft_", "dora_")  # in the names of an adapter's tensors
ARCHITECTURES = {
    "stable-diffusion-v1": "sd15", "stable-diffusion-v2": "sd2", "stable-diffusion-xl": "sdxl",
    "sd_v1": "sd15", "sd_v2": "sd2", "sdxl": "sdxl",
}  # fmt: skip
SAID_IN = ("modelspec.architecture", "ss_base_model_version")


@dataclass(frozen=True)
class Header:
    """Shapes of the tensors by name, the metadata, and the bytes of the whole file."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    size: int

    @property
    def is_lora(self) -> bool:
        """Whether its tensors are those of an adapter, and not a model's own."""
        return any(mark in name.lower() for name in self.shapes for mark in MARKS)

    @property
    def base(self) -> str:
        """Which models it is made for: ``sd15``, ``sd2``, ``sdxl``; empty where that cannot be told."""
        for name, shape in self.shapes.items():
            if len(shape) >= 2 and name.lower().endswith(DOWN) and any(part in name for part in READS_PROMPT):
                return BASES.get(shape[1], "")
        for key in SAID_IN:
            for start, base in ARCHITECTURES.items():
                if self.metadata.get(key, "").startswith(start):
                    return base
        return ""

    @property
    def triggers(self) -> str:
        """The words that a prompt needs for it, as its maker wrote them; else the tags that all its pictures had."""
        if words := self.metadata.get("modelspec.trigger_phrase", "").strip():
            return words[:200]
        counts: dict[str, int] = {}
        for tags in _object(self.metadata.get("ss_tag_frequency", "")).values():
            for tag, count in tags.items() if isinstance(tags, dict) else ():
                if isinstance(count, int):
                    counts[tag.strip()] = counts.get(tag.strip(), 0) + count
        most = max(counts.values(), default=0)
        if most < 2:
            return ""
        return ", ".join(tag for tag, count in counts.items() if tag and count == most)[:200]

    @property
    def title(self) -> str:
        """What its maker calls it; empty where nothing is said."""
        return (self.metadata.get("modelspec.title") or self.metadata.get("ss_output_name") or "").strip()[:100]


def read_header(path: Path) -> Header:
    """The header of a file, remembered until the file changes.

    Raises:
        ArtflowError: ``bad_lora`` for what is no whole safetensors file.
    """
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ArtflowError("bad_lora", f"{path.name} cannot be read ({error.strerror}).") from error


def check_start(name: str, start: bytes) -> None:
    """Refuse a file by its first nine bytes (or more), before the rest is fetched.

    Raises:
        ArtflowError: ``bad_lora``.
    """
    length = int.from_bytes(start[:LENGTH], "little")
    if not 2 <= length <= LONGEST or start[LENGTH : LENGTH + 1] != b"{":
        kind = "a web page" if start.lstrip()[:1] == b"<" else "something else"
        raise ArtflowError("bad_lora", f"{name} is no safetensors file but {kind}.")


@lru_cache(maxsize=512)  # shapes and metadata of a large one take 0.3 MB
def _read(path: Path, size: int, _changed: int) -> Header:
    with path.open("rb") as file:
        start = file.read(LENGTH + 1)
        check_start(path.name, start)
        length = int.from_bytes(start[:LENGTH], "little")
        if length > size - LENGTH:
            raise ArtflowError("bad_lora", f"{path.name} was cut short: it ends inside of its header.")
        file.seek(LENGTH)
        text = file.read(length)
    try:
        tensors = json.loads(text)
        metadata = tensors.pop("__metadata__", {})
        shapes = {name: tuple(int(side) for side in one["shape"]) for name, one in tensors.items()}
        spans = sorted(tuple(int(at) for at in one["data_offsets"]) for one in tensors.values())
        about = {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtflowError("bad_lora", f"{path.name} has a header that cannot be read.") from error
    end = 0
    for span in spans:
        if len(span) != 2 or span[0] != end or span[1] < end:
            raise ArtflowError("bad_lora", f"{path.name} has a header whose tensors do not follow one another.")
        end = span[1]
    whole = LENGTH + length + end
    if not shapes or whole != size:
        sentence = f"{path.name} has {size} bytes where its header says {whole}; it was cut short or changed."
        raise ArtflowError("bad_lora", sentence if shapes else f"{path.name} holds no weights.")
    return Header(shapes, about, size)


def check_lora(path: Path) -> Header:
    """The header of a LoRA's file.

    Raises:
        ArtflowError: ``bad_lora`` for another file.
    """
    header = read_header(path)
    if not header.is_lora:
        raise ArtflowError("bad_lora", f"{path.name} is no LoRA: none of its weights is an adapter's (a whole model?).")
    return header


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
