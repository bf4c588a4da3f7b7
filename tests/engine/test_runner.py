"""One model on its device: what a batch is, and what the model is told."""

from __future__ import annotations

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline

from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.images import Size
from artflow.models.acceleration import Acceleration
from artflow.models.families.unet import guidance_embedding
from tests.support.live import difference, noisy
from tests.support.models import tiny_model, tiny_runner

SIZE = Size(64, 64)


def rows(runner: Runner, count: int) -> list[Row]:
    return [
        Row(
            torch.randn(runner.model.latent_shape(SIZE), generator=torch.Generator().manual_seed(i)),
            torch.tensor(100.0 * i),
            runner.inputs(runner.conditions.encode(f"prompt {i}"), SIZE, 1.0 + i),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("options", [{}, {"family": "sdxl"}, {"time_cond": True}])
def test_rows_of_a_batch_equal_each_by_itself(options: dict) -> None:
    runner = tiny_runner(**options)
    batch = rows(runner, 5)
    together = runner.predict(batch)
    for row, answer in zip(batch, together, strict=True):
        torch.testing.assert_close(runner.predict([row])[0], answer, atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_fixed_batches_pad_to_a_bucket_and_a_batch_is_no_larger_than_allowed() -> None:
    sizes: list[int] = []
    model = tiny_model()
    padded, plain = Runner(model, max_batch=4, fixed_batches=lambda: True), Runner(model)
    watch = model.unet.register_forward_pre_hook(lambda unet, args: sizes.append(len(args[0])))
    try:
        answers = {count: padded.predict(rows(padded, count)) for count in (1, 3, 4, 7)}
        assert sizes == [1, 4, 4, 4, 4]
    finally:
        watch.remove()
    for count, answer in answers.items():
        torch.testing.assert_close(answer, plain.predict(rows(plain, count)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("most", "buckets"), [(1, [1]), (3, [1, 2, 3]), (16, [1, 2, 4, 8, 16]), (20, [1, 2, 4, 8, 16, 20])]
)
def test_buckets_double_up_to_what_is_allowed(most: int, buckets: list[int]) -> None:
    padded = Runner(tiny_model(), max_batch=most, fixed_batches=lambda: True)
    assert sorted({count + padded._padding(count, SIZE) for count in range(1, most + 1)}) == buckets


def test_the_decoder_meets_the_same_few_batches() -> None:
    sizes: list[int] = []
    model = tiny_model()
    padded, plain = Runner(model, max_batch=4, fixed_batches=lambda: True), Runner(model)
    latents = torch.stack([row.latent for row in rows(plain, 7)])
    watch = model.vae.decoder.register_forward_pre_hook(lambda decoder, args: sizes.append(len(args[0])))
    try:
        pictures = padded.decode(latents)
    finally:
        watch.remove()
    assert sizes == [4, 4]
    for ours, theirs in zip(pictures, plain.decode(latents), strict=True):
        assert difference(ours, theirs) <= 1


def test_the_guidance_embedding_is_that_of_diffusers() -> None:
    scales = torch.tensor([0.0, 0.5, 7.0])
    theirs = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, scales, 32)
    torch.testing.assert_close(guidance_embedding(scales, 32), theirs, atol=1e-5, rtol=1e-5)
    assert guidance_embedding(scales, 33).shape == (3, 33)


def test_a_model_with_a_guidance_embedding_hears_the_guidance() -> None:
    runner = tiny_runner(time_cond=True)
    row, time, text = rows(runner, 1)[0], torch.tensor(500.0), runner.conditions.encode("a fox")
    low, high = (runner.predict([Row(row.latent, time, runner.inputs(text, SIZE, g))]) for g in (1.0, 8.0))
    assert (low - high).abs().max() > 1e-3


@pytest.mark.parametrize("vae", ["tiny", "kl"])
def test_the_same_picture_is_the_same_latent(vae: str) -> None:
    """Drawing from the posterior instead would make a still scene flicker."""
    runner = tiny_runner(vae=vae)
    latents = runner.encode([noisy(1), noisy(2), noisy(1)])
    assert latents.shape == (3, *runner.model.latent_shape(SIZE))
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents[0], latents[2])
    assert (latents[0] - latents[1]).abs().max() > 0.1


def test_pictures_come_out_as_bytes() -> None:
    runner = tiny_runner()
    pictures = runner.decode(torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0)) * 3)
    assert [(p.shape, str(p.dtype)) for p in pictures] == [((64, 96, 3), "uint8")] * 2
    assert difference(pictures[0], pictures[1]) > 10


def test_padding_ends_with_the_compilation_that_wanted_it() -> None:
    """A compilation that is given up leaves nothing that batches would have to be padded for."""
    sizes: list[int] = []
    model, acceleration = tiny_model(), Acceleration("compile", active="compile")
    runner = Runner(model, max_batch=8, fixed_batches=lambda: acceleration.fixed_batches)
    latents = torch.stack([row.latent for row in rows(runner, 5)])
    watches = [
        part.register_forward_pre_hook(lambda part, args: sizes.append(len(args[0])))
        for part in (model.unet, model.vae.decoder)
    ]
    try:
        for _ in range(2):
            runner.predict(rows(runner, 5))
            runner.decode(latents)
            acceleration.give_up("It could not be compiled.")
    finally:
        for watch in watches:
            watch.remove()
    assert sizes == [8, 8, 5, 5]
