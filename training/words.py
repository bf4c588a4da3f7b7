"""The text side: a real ``CLIPTokenizer`` trained on our captions, and the small ``CLIPTextModel`` that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.common import CACHE
from training.concepts import EVERY_CONCEPT
from training.data import composer

LENGTH, WIDTH = 24, 128
FOLDER = CACHE / "tokenizer"
START, END = "<|startoftext|>", "<|endoftext|>"
# CLIP's own splitting rule (openai/CLIP, simple_tokenizer.py)
SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def train_tokenizer(folder: Path = FOLDER, captions: int = 6000) -> CLIPTokenizer:
    """Byte-pair encoding of captions in CLIP's file format; frequent words become one token each."""
    source = composer(seed=5)
    texts = [source.one(canonical=True).caption for _ in range(captions)]
    texts += [word for concept in EVERY_CONCEPT for word in concept.words for _ in range(4)]
    tokenizer = Tokenizer(BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1900,
        min_frequency=2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary = dict(model["vocab"])
    for piece in [*(f"{letter}</w>" for letter in alphabet), START, END]:
        vocabulary.setdefault(piece, len(vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    CLIPTokenizer.from_pretrained(folder, model_max_length=LENGTH).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def load_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(FOLDER) if (FOLDER / "vocab.json").exists() else train_tokenizer()


def build_text_model(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """2 layers, 128 wide, 24 tokens.

    The start matters: with CLIP's small embeddings the layers' outputs soon drown them, 121 things collapse into about
    4 directions (colours, in effect), and the denoiser never learns shapes. Unit embeddings keep every word's own
    direction, and loud attention outputs spread the words over the padding, which the denoiser reads most of.
    """
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=LENGTH, projection_dim=WIDTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = CLIPTextModel(config)
    torch.nn.init.normal_(model.embeddings.token_embedding.weight, std=1.0)
    torch.nn.init.normal_(model.embeddings.position_embedding.weight, std=0.25)
    with torch.no_grad():
        for layer in model.encoder.layers:
            layer.self_attn.out_proj.weight *= 7
    return model


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """[N, 24] int64."""
    encoded = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    return encoded.input_ids
