"""All that others see of the engine: models by their ids, live sessions, jobs, and how busy it is. The same for an
engine in a thread of this process and for one in a process of its own."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from artflow.engine.client import EngineClient, start
from artflow.engine.job_request import ImageFinished, JobEnded, JobEvent, JobProgress, JobRequest
from artflow.engine.params import LiveParams
from artflow.engine.stream_policy import Result
from artflow.engine.thread_client import ThreadClient
from artflow.errors import ArtflowError
from artflow.models.catalog import ModelSpec
from artflow.models.info import ModelInfo
from artflow.modes.text import TextParams, image_specs
from artflow.settings import ModelSettings, SafetySettings
from tests.support.live import DRAWING, PATIENCE, SIDE, difference, noisy, wait_until
from tests.support.models import tiny_folder

START = 150  # seconds that a process may take to import all that it needs
SETTINGS = ModelSettings(device="cpu", dtype="float32", warmup=0, max_loaded=1)


@pytest.fixture(params=["thread", "process"], scope="module")
def client(request: pytest.FixtureRequest) -> Iterator[EngineClient]:
    client = start(SETTINGS.model_copy(update={"engine": request.param}), SafetySettings(), "cpu", "tiny")
    yield client
    client.close()


@pytest.fixture
def model(client: EngineClient) -> ModelInfo:
    """A loaded model, once the one of the test before is idle."""

    def loaded() -> ModelInfo | None:
        info = client.load(spec("tiny")).info
        return None if isinstance(info.exception(START), ArtflowError) else info.result()

    return wait_until(loaded, "room for the model")


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
    client.submit(job(model, "first", batch_count=16, steps=50), first.put)
    client.cancel("first")
    client.submit(job(model, "second"), second.put)
    assert sum(isinstance(event, ImageFinished) for event in heard(first)) < 16
    assert any(isinstance(event, ImageFinished) for event in heard(second))


def test_what_cannot_be_made_ends_its_job_with_the_reason(client: EngineClient, model: ModelInfo) -> None:
    events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
    wanted = TextParams(width=SIDE, height=SIDE, steps=51, sampler="LCM")
    client.submit(JobRequest("long", model.id, tuple(image_specs(wanted, model, 1024))), events.put)
    (end,) = heard(events)
    assert isinstance(end, JobEnded) and end.error is not None and "LCM makes at most 50" in end.error.message


def test_a_live_session_answers_its_frames(client: EngineClient, model: ModelInfo) -> None:
    results: queue.SimpleQueue[Result] = queue.SimpleQueue()
    calls = client.metrics()["model_calls"]
    stream = client.open(model, LiveParams(width=SIDE, height=SIDE, steps=1), DRAWING, results.put, max_size=1024)
    stream.submit(noisy(1), 7)
    result = results.get(timeout=PATIENCE)
    assert result.frame == 7 and result.picture is not None and result.picture.shape == (SIDE, SIDE, 3)
    assert client.sessions == 1 and client.metrics()["transport"] in type(client).__name__.lower()
    wait_until(lambda: client.metrics()["sessions"] == 1 and client.metrics()["model_calls"] > calls)
    stream.close()
    wait_until(lambda: client.sessions == 0)


def test_a_session_takes_and_gives_pictures_of_any_size(client: EngineClient, model: ModelInfo) -> None:
    results: queue.SimpleQueue[Result] = queue.SimpleQueue()
    params = LiveParams(width=256, height=256, steps=1)
    stream = client.open(model, params, DRAWING, results.put, max_size=1024)
    large, small = stream.params, params.model_copy(update={"width": SIDE, "height": SIDE})
    first = {}
    for side, settings in ((256, large), (2048, small), (8, large), (256, large), (256, small), (256, large)):
        stream.update(settings)
        stream.submit(noisy(0, side=side))
        picture = results.get(timeout=PATIENCE).picture
        assert picture is not None and picture.shape == (settings.height, settings.width, 3)
        assert difference(first.setdefault((side, settings.width), picture), picture) <= 1
    stream.close()


def test_what_a_person_does_wrong_is_told_at_once(client: EngineClient, model: ModelInfo) -> None:
    stream = client.open(model, LiveParams(width=SIDE, height=SIDE), DRAWING, lambda result: None, max_size=256)
    with pytest.raises(ArtflowError, match="width 68 is not a multiple of 8"):
        stream.update(stream.params.model_copy(update={"width": 68}))
    stream.close()
    with pytest.raises(ArtflowError, match="This session has ended"):
        stream.submit(noisy(1))


def test_a_leased_model_stays_and_an_evicted_one_is_told(client: EngineClient, model: ModelInfo) -> None:
    with client.lease(spec("tiny")) as leased:
        leased.info.result(START)
        with pytest.raises(ArtflowError, match="1 models are in use already"):
            client.load(spec("other", seed=1)).info.result(START)
    client.load(spec("other", seed=1)).info.result(START)
    assert client.loaded == ["other"] and client.has("other") and not client.has("tiny")
    events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
    client.submit(job(model, "late"), events.put)
    (end,) = heard(events)
    assert isinstance(end, JobEnded) and end.error is not None
    assert end.error.code == "model_not_loaded" and "tiny has made room" in end.error.message


def test_a_model_that_is_loaded_is_found_at_once(client: EngineClient, model: ModelInfo) -> None:
    assert client.load(spec("tiny")).info.done()


def test_a_model_that_cannot_be_read_says_why_and_is_tried_again(client: EngineClient, tmp_path: Path) -> None:
    broken = ModelSpec(id="broken", source={"folder": tmp_path}, width=SIDE, height=SIDE)
    handle = client.load(broken)
    with pytest.raises(ArtflowError) as caught:
        handle.info.result(START)
    assert caught.value.code == "model_load_failed" and handle.message == caught.value.message
    assert client.load(broken) is not handle


def test_a_job_gives_the_picture_that_its_spec_says_whatever_the_id(client: EngineClient, model: ModelInfo) -> None:
    pictures = []
    for name in ("a", "b"):
        events: queue.SimpleQueue[JobEvent] = queue.SimpleQueue()
        client.submit(job(model, name), events.put)
        pictures += [event.image.picture for event in heard(events) if isinstance(event, ImageFinished)]
    assert np.array_equal(*pictures)


def test_an_errand_gives_its_result_or_its_error(client: EngineClient) -> None:
    assert np.array_equal(client.errand(np.add, noisy(1), 1), noisy(1) + 1)
    assert client.errand(divmod, 7, 2, long=True) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        client.errand(divmod, 7, 0)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_what_is_left_at_the_end_is_told(kind: str) -> None:
    client = start(SETTINGS.model_copy(update={"engine": kind}), SafetySettings(), "cpu", "tiny")
    model = client.load(spec("tiny")).info.result(START)
    events, results = queue.SimpleQueue[JobEvent](), queue.SimpleQueue[Result]()
    client.submit(job(model, "endless", batch_count=16, steps=50), events.put)
    stream = client.open(model, LiveParams(width=SIDE, height=SIDE), DRAWING, results.put, max_size=1024)
    client.close()
    end = heard(events)[-1]
    assert isinstance(end, JobEnded) and end.error is not None and end.error.code == "engine_closed"
    with pytest.raises(ArtflowError):
        client.open(model, LiveParams(width=SIDE, height=SIDE), DRAWING, results.put, max_size=1024)
    stream.close()


def test_an_errand_goes_to_the_engines_thread_where_the_device_is_a_gpu() -> None:
    client = ThreadClient(ModelSettings(device="cpu"), SafetySettings(), "cpu", "tiny")
    engine = client.engine.run_on_engine_thread(threading.get_ident).result(PATIENCE)
    assert client.errand(threading.get_ident) not in (engine, threading.get_ident())
    for device in ("cuda", "mps"):
        client._device = device
        assert client.errand(threading.get_ident) == engine
    client.close()


@pytest.mark.parametrize(
    ("setting", "device", "kind"),
    [
        ("auto", "cpu", "thread"),
        ("auto", "cuda", "process"),
        ("thread", "cuda", "thread"),
        ("process", "cpu", "process"),
    ],
)  # fmt: skip
def test_auto_is_a_process_beside_a_gpu(setting, device: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("thread", "process"):
        monkeypatch.setattr(f"artflow.engine.{name}_client.{name.title()}Client", lambda *_, name=name: name)
    assert start(ModelSettings(engine=setting), SafetySettings(), device, "tiny") == kind


def test_what_uses_the_client_needs_no_torch() -> None:
    names = "engine.client, modes.text, modes.hires, modes.tiled_img2img, modes.native_resolution, modes.live_inpaint"
    imports = ", ".join(f"artflow.{name}" for name in names.split(", "))
    code = f"import sys, {imports}; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
