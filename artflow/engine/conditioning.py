"""Prompts to embeddings, cached; and blends between two of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from artflow.models.model import Model

CACHED_PROMPTS = 128


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told: ``tokens`` of shape (length, width), and SDXL's ``pooled`` of shape (width,)."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None

    def blend(self, other: Conditioning, amount: float) -> Conditioning:
        """The linear blend; ``amount`` 0 is this one, 1 the other."""
        pooled = None
        if self.pooled is not None and other.pooled is not None:
            pooled = torch.lerp(self.pooled, other.pooled, amount)
        return Conditioning(torch.lerp(self.tokens, other.tokens, amount), pooled)


def slerp(a: torch.Tensor, b: torch.Tensor, amount: float) -> torch.Tensor:
    """Spherical blend of two noises of one shape: it keeps the norm that the model expects of noise."""
    cosine = torch.clamp(torch.sum(a * b) / (a.norm() * b.norm()), -1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4:
        return torch.lerp(a, b, amount)
    return (torch.sin((1 - amount) * angle) * a + torch.sin(amount * angle) * b) / torch.sin(angle)


class PromptEncoder:
    """The text towers of one model, each text encoded once (the ``CACHED_PROMPTS`` most recent are kept).

    ``translate`` puts a prompt into the words that the model was taught.
    """

    def __init__(self, model: Model, translate: Callable[[str], str] = str) -> None:
        self._model = model
        self._translate = translate
        self._cache: OrderedDict[tuple[str, bool], Conditioning] = OrderedDict()

    def encode(self, text: str, *, negative: bool = False) -> Conditioning:
        """The embedding of a prompt, on the model's device in its dtype; cut at the tokenizer's length.

        An empty negative prompt of SDXL is zeros, as its pipelines do (``force_zeros_for_empty_prompt``).
        """
        key = (text, negative)
        if key not in self._cache:
            self._cache[key] = self._encode(text, negative)
            if len(self._cache) > CACHED_PROMPTS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key]

    @torch.inference_mode()
    def _encode(self, text: str, negative: bool) -> Conditioning:
        sdxl = self._model.family == "sdxl"
        tokens, pooled = [], None
        for tokenizer, encoder in self._towers():
            length = tokenizer.model_max_length
            options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
            ids = tokenizer(self._translate(text), **options).input_ids.to(self._model.device)
            output = encoder(ids, output_hidden_states=sdxl)
            tokens.append(output.hidden_states[-2][0] if sdxl else output[0][0])
            pooled = output[0][0] if sdxl else None  # the last tower's projection
        joined = torch.cat(tokens, dim=-1).to(self._model.dtype)
        result = Conditioning(joined, None if pooled is None else pooled.to(self._model.dtype))
        if sdxl and negative and not text:
            assert result.pooled is not None
            return Conditioning(torch.zeros_like(result.tokens), torch.zeros_like(result.pooled))
        return result

    def _towers(self) -> Iterable[tuple]:
        return zip(self._model.tokenizers, self._model.text_encoders, strict=True)
