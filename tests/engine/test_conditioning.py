"""Prompts: encoded once, blended linearly; noises blended on the sphere."""

from __future__ import annotations

import pytest
import torch

from artflow.engine.conditioning import CACHED_PROMPTS, PromptEncoder, slerp
from artflow.engine.runner import Runner
from tests.support.models import tiny_model, tiny_runner


def test_a_text_is_encoded_once(runner: Runner) -> None:
    assert runner.prompts.encode("a red fox") is runner.prompts.encode("a red fox")
    assert not torch.equal(runner.prompts.encode("a red fox").tokens, runner.prompts.encode("a blue fox").tokens)


def test_only_the_most_recent_are_kept() -> None:
    prompts = PromptEncoder(tiny_model())
    first, kept = prompts.encode("first"), prompts.encode("kept")
    for i in range(CACHED_PROMPTS - 1):
        prompts.encode(f"prompt {i}")
        assert prompts.encode("kept") is kept
    assert prompts.encode("first") is not first


def test_a_text_over_the_tokenizers_length_is_cut() -> None:
    prompts = PromptEncoder(tiny_model())
    long = "x" * 500
    assert torch.equal(prompts.encode(long).tokens, prompts.encode(long + " and more").tokens)


def test_sdxl_has_pooled_embeddings_and_zeros_for_no_negative_prompt() -> None:
    prompts = tiny_runner(family="sdxl").prompts
    words, nothing = prompts.encode("a red fox"), prompts.encode("", negative=True)
    assert words.tokens.shape == nothing.tokens.shape
    assert words.pooled is not None and nothing.pooled is not None
    assert not nothing.tokens.any() and not nothing.pooled.any()
    assert prompts.encode("").tokens.any()  # an empty positive prompt is a prompt


def test_a_blend_lies_between(runner: Runner) -> None:
    a, b = runner.prompts.encode("day"), runner.prompts.encode("night")
    torch.testing.assert_close(a.blend(b, 0.25).tokens, 0.75 * a.tokens + 0.25 * b.tokens)
    assert torch.equal(a.blend(b, 0).tokens, a.tokens)


def test_slerp_keeps_the_norm_where_lerp_would_lose_it() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 4, 64, 64, generator=generator)
    for amount in (0.0, 0.3, 0.5, 1.0):
        assert slerp(a, b, amount).norm() == pytest.approx(float(a.norm()), rel=0.02)
    assert torch.lerp(a, b, 0.5).norm() < 0.8 * a.norm()
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)


def test_slerp_of_a_noise_with_itself_is_itself() -> None:
    a = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(slerp(a, a, 0.5), a)
