"""The engine on a pretended CUDA device: mixed devices, illegal work in a capture and needless waits fail here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from artflow.engine import graphs as graphs_module
from artflow.engine.engine import Engine
from artflow.engine.image_spec import ImageSpec
from artflow.engine.request import Row
from artflow.engine.runner import Runner
from artflow.engine.sampling import SAMPLERS
from artflow.images import Picture, Size
from artflow.models.catalog import ModelSpec
from artflow.models.loader import load_model
from artflow.models.span import load_span
from tests.engine.test_inpaint_region import HOLED, holed
from tests.support.jobs import all_steps, sampling_state, text_job
from tests.support.live import DRAWING, STREAM, Person, difference, noisy
from tests.support.models import tiny_folder
from tests.support.simulated_gpu import SimulatedGpu, simulated_gpu

MODELS: dict[str, dict[str, Any]] = {
    "sd": {},
    "sd, KL": {"vae": "kl"},
    "sdxl": {"family": "sdxl"},
    "lcm": {"time_cond": True},
    "inpaint": {"inpaint": True},
    "v_prediction": {"prediction_type": "v_prediction"},
}
GUIDANCE = ("none", "self", "initialize", "full")


@pytest.fixture
def gpu() -> Iterator[SimulatedGpu]:
    with simulated_gpu() as gpu:
        yield gpu


def on_gpu(name: str = "sd", dtype: torch.dtype = torch.float16, *, graphs: bool = False, most: int = 4) -> Runner:
    spec = ModelSpec(id="tiny", source={"folder": str(tiny_folder(**MODELS[name]))}, width=64, height=64)
    runner = Runner(load_model(spec, device="cuda", dtype=dtype), max_batch=most, use_cuda_graph=graphs)
    runner.warm_up(1)
    return runner


@contextmanager
def engine_of(runner: Runner, device: str = "cuda") -> Iterator[Engine]:
    engine = Engine(runner.max_batch, device)
    try:
        yield engine
    finally:
        engine.close()


def made(runner: Runner, device: str = "cuda") -> list[Picture]:
    """A picture of everything: streams and drawings with each guidance, jobs with each sampler, inpaint regions."""
    with engine_of(runner, device) as engine:
        people = [
            Person(engine, runner, policy, steps=steps, cfg_type=cfg, guidance_scale=1.4, seed=i, prompt=f"person {i}")
            for i, (policy, cfg, steps) in enumerate(product((STREAM, DRAWING), GUIDANCE, (1, 2)))
        ]
        people.append(Person(engine, runner, HOLED, steps=2))
        jobs = [text_job(runner, sampler=name, guidance_scale=2.0, batch_count=2) for name in SAMPLERS]
        for job in jobs:
            engine.add(job)
        for person in people:
            picture = noisy(1)
            person.send(*[holed(picture) if person.session.policy is HOLED else picture] * 3)
        pictures = []
        for person in people:
            results = person.wait_for(3)
            assert not person.errors, [result.error for result in results]
            pictures += person.pictures
        return pictures + [image.picture for job in jobs for image in job.wait()]


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
def test_pictures_are_those_of_the_cpu(gpu: SimulatedGpu, graphs: bool) -> None:
    spec = ModelSpec(id="tiny", source={"folder": str(tiny_folder())}, width=64, height=64)
    expected = made(Runner(load_model(spec, device="cpu", dtype=torch.float32), max_batch=4), "cpu")
    pictures = made(on_gpu(dtype=torch.float32, graphs=graphs))
    assert all(difference(ours, theirs) <= 1 for ours, theirs in zip(pictures, expected, strict=True))
    assert (gpu.replays > 0) is graphs


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_model_runs_in_half_precision(gpu: SimulatedGpu, name: str) -> None:
    assert all(np.std(picture) > 10 for picture in made(on_gpu(name, torch.float16, graphs=True)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_bfloat16(gpu: SimulatedGpu, name: str) -> None:
    assert all(np.std(picture) > 10 for picture in made(on_gpu(name, torch.bfloat16)))


@pytest.mark.parametrize("graphs", [False, True], ids=["plain", "graphs"])
@pytest.mark.parametrize("cfg_type", GUIDANCE)
def test_a_live_call_waits_for_the_device_once(gpu: SimulatedGpu, cfg_type: str, graphs: bool) -> None:
    runner = on_gpu(graphs=graphs)
    with engine_of(runner) as engine:
        person = Person(engine, runner, DRAWING, steps=1, cfg_type=cfg_type, guidance_scale=1.4)
        person.answer(noisy(0))  # its prompt and noise come to the device
        gpu.forget()
        calls = engine.metrics.calls
        for i in range(3):
            person.answer(noisy(i))
        assert engine.metrics.calls - calls == 3
        assert len([wait for wait in gpu.waits if wait.thread == "engine"]) <= 3, gpu.waits


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_a_job_waits_for_in_a_step(gpu: SimulatedGpu, sampler: str) -> None:
    """Only for its pictures: the finished one and previews. UniPC puts scalars of its own on the device."""
    runner = on_gpu()
    with engine_of(runner) as engine:
        job = text_job(runner, sampler=sampler, steps=8)
        engine.add(job)
        job.wait()
    waits = [wait for wait in gpu.waits if wait.thread == "engine" and wait.what != "Stream.synchronize"]
    assert len(waits) <= (48 if sampler == "UniPC" else 0), waits


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_the_steps_of_an_inpaint_job_wait_for_nothing(gpu: SimulatedGpu, sampler: str, strength: float) -> None:
    runner = on_gpu()
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    spec = ImageSpec({}, Size(64, 64), 1, "", "", 4, 1.0, sampler, strength, noisy(1), mask)
    source = runner.encode([noisy(1)])[0]
    sampling_state(runner, spec, source)  # prompts come to the device
    gpu.forget()
    all_steps(runner, sampling_state(runner, spec, source))
    assert len(gpu.waits) <= (24 if sampler == "UniPC" else 0), gpu.waits


def test_all_batches_of_the_models_size_are_recorded_at_load_and_nothing_later(gpu: SimulatedGpu) -> None:
    runner = on_gpu(graphs=True)
    assert gpu.captures == 3 * 4  # encoder, UNet and decoder, for 1, 2, 3 and 4
    with engine_of(runner) as engine:
        person = Person(engine, runner, DRAWING, steps=2)
        person.answer(noisy(1))
        replays = gpu.replays
        assert replays > 0
        person.change(width=96)
        assert person.answer(noisy(1)).picture.shape == (64, 96, 3)
        assert (gpu.captures, gpu.replays) == (12, replays)


def test_the_largest_batch_is_recorded_first(gpu: SimulatedGpu, monkeypatch) -> None:
    """Graphs share memory: small ones first would make it the sum of all."""
    order: list[int] = []
    record = graphs_module.CudaGraphs._record
    monkeypatch.setattr(
        graphs_module.CudaGraphs,
        "_record",
        lambda graphs, given: order.append(len(next(iter(given.values())))) or record(graphs, given),
    )
    on_gpu(graphs=True)
    assert order == sorted(order, reverse=True)


def test_graphs_of_a_large_autoencoder_are_not_recorded(gpu: SimulatedGpu) -> None:
    on_gpu("sd, KL", graphs=True)
    assert gpu.captures == 4


@pytest.mark.parametrize(("name", "decoded"), [("sd", 6), ("sd, KL", 5)])
def test_batches_are_padded_where_a_graph_is_replayed_and_nowhere_else(
    gpu: SimulatedGpu, name: str, decoded: int
) -> None:
    spec = ModelSpec(id="tiny", source={"folder": str(tiny_folder(**MODELS[name]))}, width=64, height=64)
    model = load_model(spec, device="cuda", dtype=torch.float16)
    runner = Runner(model, max_batch=8, use_cuda_graph=True)
    sizes: dict[str, int] = {}
    for network, module in (("unet", model.unet), ("decoder", model.vae.decoder)):
        module.register_forward_pre_hook(lambda module, args, network=network: sizes.update({network: len(args[0])}))
    latent = runner.encode([noisy(1)])[0]
    row = Row(latent, torch.tensor(499.0, device="cuda"), runner.inputs(runner.conditions.encode(""), Size(64, 64)))
    runner.decode(runner.predict([row] * 5))
    assert sizes == {"unet": 6, "decoder": decoded}


def test_a_recording_that_fails_is_told_and_the_plain_path_runs(gpu: SimulatedGpu, monkeypatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    runner = on_gpu(graphs=True)
    assert "CUDA graphs could not be recorded" in runner.graphs.problem
    with engine_of(runner) as engine:
        assert Person(engine, runner, DRAWING).answer(noisy(1)).picture.std() > 10
    assert gpu.replays == 0


def test_a_batch_too_large_to_be_recorded_leaves_the_smaller_ones(gpu: SimulatedGpu, monkeypatch) -> None:
    capture = torch.cuda.graph
    tried: list[int] = []

    def full(*args: Any, **kwargs: Any) -> Any:
        tried.append(1)
        if len(tried) <= 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return capture(*args, **kwargs)

    monkeypatch.setattr(torch.cuda, "graph", full)
    runner = on_gpu(graphs=True)
    assert (gpu.captures, runner.graphs.problem) == (9, "")


def test_the_embedded_upscaler_waits_for_nothing(gpu: SimulatedGpu) -> None:
    network = load_span.__wrapped__(2, "cuda")
    tile = torch.rand(1, 3, 16, 16, device="cuda")
    gpu.forget()
    assert network(tile).shape == (1, 3, 32, 32)
    assert not gpu.waits


def test_a_large_job_runs_beside_live_pictures(gpu: SimulatedGpu) -> None:
    runner = on_gpu(dtype=torch.float32)
    with engine_of(runner) as engine:
        person, job = Person(engine, runner, DRAWING), text_job(runner, steps=2, width=1024, height=512)
        engine.add(job)
        assert person.answer(noisy(1)).picture is not None
        assert job.wait()[0].picture.shape == (512, 1024, 3)
