"""CLIP models for tests: one whose space is made of words, and a tiny real one with random weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from artflow.images import Picture
from artflow.models.clip import EMBEDDED, Features

WIDTH = 64


def word_vector(word: str) -> np.ndarray:
    """A direction of the word's own."""
    return np.random.default_rng(list(word.encode())).standard_normal(WIDTH)


class WordTowers:
    """Texts are the sum of their words, and every picture is the text that it was told to show."""

    name, fingerprint, scale = "words", "0", 20.0

    def __init__(self, shows: str, longest: int = 40) -> None:
        self.shows, self.longest = shows, longest
        self.calls: list[int] = []  # texts of each call

    def encode_image(self, picture: Picture) -> Features:
        return self._rows([self.shows])

    def encode_text(self, texts: Sequence[str]) -> Features:
        self.calls.append(len(texts))
        return self._rows(texts)

    def full(self, text: str) -> bool:
        return len(text.split()) >= self.longest

    @staticmethod
    def _rows(texts: Sequence[str]) -> Features:
        rows = np.stack([np.sum([word_vector(w) for w in t.replace(",", "").split()], 0) for t in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def build_tiny_clip(folder: Path, seed: int = 0) -> Path:
    """A repository as ``openai/clip-vit-large-patch14`` is, a few hundred kB large; what it says is of no meaning."""
    folder.mkdir(parents=True)
    tokens = CLIPTokenizer.from_pretrained(EMBEDDED)
    side = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = side | {
        "vocab_size": len(tokens), "max_position_embeddings": 77, "projection_dim": 16,
        "bos_token_id": tokens.bos_token_id, "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id,
    }  # fmt: skip
    vision = side | {"image_size": 64, "patch_size": 32, "projection_dim": 16}
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"):
        shutil.copy(EMBEDDED / name, folder / name)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "README.md").write_text("# A model")
    return folder
