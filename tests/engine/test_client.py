"""All that others see of the engine: models by their ids, live sessions, jobs, and how busy it is."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from artflow.engine.client import EngineClient
from artflow.engine.job_request import ImageFinished, JobEnded, JobEvent, JobProgress, JobRequest
from artflow.engine.params import LiveParams
from artflow.engine.stream_policy import Result
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelInfo
from artflow.modes.text import TextParams, image_specs
from artflow.settings import ModelSettings, SafetySettings
from tests.support.live import DRAWING, PATIENCE, SIDE, held, noisy
from tests.support.models import tiny_folder


@pytest.fixture
def client() -> Iterator[EngineClient]:
    settings = ModelSettings(device="cpu", dtype="float32", warmup=0, max_loaded=1)
    client = EngineClient(settings, SafetySettings(), "cpu", "tiny")
    yield client
    client.close()


@pytest.fixture
def model(client: EngineClient) -> ModelInfo:
    """A loaded model."""
    return client.load(spec("tiny")).info.result(PATIENCE)


def spec(name: str, **options: int) -> ModelSpec:
    return ModelSpec(id=name, source={"folder": tiny_folder(**options)}, width=SIDE, height=SIDE)


def job(model: ModelInfo, name: str, **params: int) -> JobRequest:
    wanted = {"width": SIDE, "height": SIDE, "steps": 2, "seed": 1, "guidance_scale": 1.0} | params
    return JobRequest(name, model.id, tuple(image_specs(TextParams(**wanted), model, 1024)))


def heard(events: queue.SimpleQueue[JobEvent]) -> list[JobEvent]:
    """All events of a job up to its end."""
    found = [events.get(timeout=PATIENCE)]
    while not isinstance(found[-1], JobEnded):
        found.append(events.get(timeout=PATIENCE))
    return found


def test_a_job_tells_each_step_each_picture_and_its_end(client: EngineClient, model: ModelInfo) -> None:
    events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
    client.submit(job(model, "two", batch_count=2), events.put)
    found = heard(events)
    assert sum(isinstance(event, JobProgress) for event in found) == 1 + 2  # a step of both, and the end of each
    images = {event.index: event.image for event in found if isinstance(event, ImageFinished)}
    assert {i: image.recipe["seed"] for i, image in images.items()} == {0: 1, 1: 2}
    assert found[-1] == JobEnded()


def test_a_job_is_cancelled_by_its_id(client: EngineClient, model: ModelInfo) -> None:
    first, second = queue.SimpleQueue[JobEvent](), queue.SimpleQueue[JobEvent]()
    with held(client.engine):
        client.submit(job(model, "first"), first.put)
        client.submit(job(model, "second"), second.put)
        client.cancel("first")
    assert heard(first) == [JobEnded()]
    assert any(isinstance(event, ImageFinished) for event in heard(second))


def test_what_cannot_be_made_ends_its_job_with_the_reason(client: EngineClient, model: ModelInfo) -> None:
    events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
    wanted = TextParams(width=SIDE, height=SIDE, steps=51, sampler="LCM")
    client.submit(JobRequest("long", model.id, tuple(image_specs(wanted, model, 1024))), events.put)
    (end,) = heard(events)
    assert isinstance(end, JobEnded) and end.error is not None and "LCM makes at most 50" in end.error.message


def test_a_live_session_answers_its_frames(client: EngineClient, model: ModelInfo) -> None:
    results: queue.SimpleQueue[Result] = queue.SimpleQueue()
    stream = client.open(model, LiveParams(width=SIDE, height=SIDE, steps=1), DRAWING, results.put, max_size=1024)
    stream.submit(noisy(1), 7)
    result = results.get(timeout=PATIENCE)
    assert result.frame == 7 and result.picture is not None and result.picture.shape == (SIDE, SIDE, 3)
    assert client.sessions == 1 and client.metrics()["model_calls"] == 1
    stream.close()


def test_a_leased_model_stays_and_an_evicted_one_is_told(client: EngineClient, model: ModelInfo) -> None:
    with client.lease(spec("tiny")), pytest.raises(ArtflowError, match="1 models are in use already"):
        client.load(spec("other", seed=1))
    client.load(spec("other", seed=1)).info.result(PATIENCE)
    assert client.loaded == ["other"] and not client.has("tiny")
    with pytest.raises(ArtflowError, match="tiny has made room") as caught:
        client.submit(job(model, "late"), lambda event: None)
    assert caught.value.code == "model_not_loaded"


def test_a_job_gives_the_picture_that_its_spec_says_whatever_the_id(client: EngineClient, model: ModelInfo) -> None:
    pictures = []
    for name in ("a", "b"):
        events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
        client.submit(job(model, name), events.put)
        pictures += [event.image.picture for event in heard(events) if isinstance(event, ImageFinished)]
    assert np.array_equal(*pictures)


def test_work_outside_of_the_engine_goes_to_its_thread_where_the_device_is_a_gpu(client: EngineClient) -> None:
    engine = client.engine.run_on_engine_thread(threading.get_ident).result(PATIENCE)
    assert client.on_device(threading.get_ident) not in (engine, threading.get_ident())
    for device in ("cuda", "mps"):
        client._device = device
        assert client.on_device(threading.get_ident) == engine


def test_what_uses_the_client_needs_no_torch() -> None:
    names = "engine.client, modes.text, modes.hires, modes.tiled_img2img, modes.native_resolution, modes.live_inpaint"
    imports = ", ".join(f"artflow.{name}" for name in names.split(", "))
    code = f"import sys, {imports}; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
