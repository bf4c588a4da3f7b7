"""Our live steps against StreamDiffusion 0.1.1: same weights, seed and frames, equal to 1e-4."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import product

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from artflow.engine.engine import Engine
from artflow.engine.params import LiveParams
from artflow.engine.session import LiveSession
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import Result, StreamPolicy
from tests.support.models import tiny_folder, tiny_runner
from tests.support.reference import streamdiffusion

SIDE = 64
INDICES = {1: (30,), 2: (20, 40), 3: (10, 25, 40), 4: (0, 16, 32, 45)}
GUIDANCE = {"none": 1.0, "self": 1.4, "initialize": 1.4, "full": 1.4}


def frames(count: int) -> list[np.ndarray]:
    """Different smooth pictures, uint8 of shape (SIDE, SIDE, 3)."""
    random = np.random.default_rng(7)
    small = random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [f.repeat(SIDE // 8, 0).repeat(SIDE // 8, 1) for f in small]


@lru_cache(maxsize=1)
def reference_pipe() -> StableDiffusionPipeline:
    """The weights as the reference wants them; it only reads from it."""
    return StableDiffusionPipeline.from_pretrained(
        tiny_folder(), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


def reference_latents(count: int, indices: tuple[int, ...], cfg_type: str, delta: float) -> list[torch.Tensor]:
    """The clean latents that the reference gives for each frame fed."""
    stream = streamdiffusion().StreamDiffusion(
        reference_pipe(), list(indices), torch_dtype=torch.float32, width=SIDE, height=SIDE, cfg_type=cfg_type
    )
    stream.prepare(
        "a red fox", "blurry", num_inference_steps=50, guidance_scale=GUIDANCE[cfg_type], delta=delta,
        generator=torch.Generator(), seed=5,
    )  # fmt: skip
    outputs = []
    with torch.no_grad():
        for frame in frames(count):
            pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1
            outputs.append(stream.predict_x0_batch(stream.encode_image(pixels))[0].clone())
    return outputs


def our_latents(count: int, indices: tuple[int, ...], cfg_type: str, delta: float, monkeypatch) -> list[torch.Tensor]:
    """The clean latents that the engine decodes, frame by frame."""
    runner = tiny_runner()
    seen: list[torch.Tensor] = []
    decode = runner.decode
    monkeypatch.setattr(runner, "decode", lambda latents: seen.extend(latents.clone()) or decode(latents))
    engine = Engine()
    results: list[Result] = []
    params = LiveParams(
        prompt="a red fox", negative_prompt="blurry", seed=5, t_index_list=indices, cfg_type=cfg_type,
        guidance_scale=GUIDANCE[cfg_type], delta=delta, width=SIDE, height=SIDE, priority="quality",
    )  # fmt: skip
    policy = StreamPolicy("test", pipelined=True, latest_only=False)
    stream = LiveStream(runner.model.info, params, policy, results.append)
    engine.add(LiveSession.of(stream, runner))
    for frame in frames(count):
        stream.submit(frame)
    engine_idle(engine, stream)
    engine.close()
    errors = [r.error for r in results if r.error is not None and r.error.code != "engine_closed"]
    assert not errors  # the frames that were in flight when the engine was closed are told so
    return seen


def engine_idle(engine: Engine, stream: LiveStream) -> None:
    """Wait until the engine has taken every frame and finished the step."""
    while stream.waiting:
        time.sleep(0.002)
    engine.run_on_engine_thread(lambda: None).result()


# Single steps of "self" guidance differ on purpose: see `tests/engine/test_stream_step.py`.
CASES = [case for case in product(INDICES, GUIDANCE) if case != (1, "self")]


@pytest.mark.parametrize(("n", "cfg_type"), CASES)
def test_stream_equals_the_reference(n: int, cfg_type: str, monkeypatch) -> None:
    count = n + 4
    reference = reference_latents(count, INDICES[n], cfg_type, delta=0.8)
    ours = our_latents(count, INDICES[n], cfg_type, 0.8, monkeypatch)
    # The first n - 1 outputs of the reference are of an empty pipeline; ours are never made.
    assert len(ours) == count - n + 1
    for theirs, mine in zip(reference[n - 1 :], ours, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
