"""Who asks for all there is gets a share of it, and the others what they ask for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from artflow.api import live, state
from artflow.api.state import SMALL
from artflow.images import decode
from artflow.modes.filters import apply, read_stack
from artflow.ui.filters_tab import PREVIEW
from artflow.ui.previews import Previews
from tests.api.client import PATIENCE, jpeg, serve
from tests.hostile.conftest import App, Page
from tests.support.live import wait_until

LONG = {"steps": 20, "width": 256, "height": 256, "batch_count": 16}
SHORT = {"steps": 1, "width": 64, "height": 64, "batch_count": 1}


def text(**changed: Any) -> list[Any]:
    """The values of the endpoint `/text`, in order."""
    values = {
        "prompt": "a cat", "negative_prompt": "", "steps": 1, "guidance_scale": 1.0, "width": 64, "height": 64,
        "sampler": "Euler", "seed": 1, "batch_count": 1, "model": "", "hires_scale": 1, "hires_upscaler": "span",
        "hires_steps": 0, "hires_denoise": 0.5, "prediction_type": "auto", "loras": "{}", "control": [],
        "control_picture": None,
    }  # fmt: skip
    return list((values | changed).values())


def ends(page: Page) -> Iterator[dict[str, Any]]:
    """How the page's calls end, as they do."""
    with page.http.stream("GET", "/queue/data", params={"session_hash": page.session}) as events:
        for line in events.iter_lines():
            event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if event.get("msg") == "process_completed":
                yield event
            elif event.get("msg") == "close_stream":
                return


def test_a_page_that_asks_for_everything_gets_a_share_and_others_are_served(app: App) -> None:
    most = app.pipeline.settings.server.jobs_per_person
    with app.page() as greedy, app.page() as other:
        for _ in range(16):
            greedy.ask("text", *text(**LONG))
        refused = ends(greedy)
        for _ in range(16 - most):
            answer = next(refused)
            assert not answer["success"]
            assert f"{most} jobs by you run or wait already" in answer["output"]["error"]
        assert app.pipeline.jobs == most
        other.ask("text", *text(**SHORT))
        assert next(ends(other))["success"] and app.pipeline.jobs == most, "nobody waits for all of another's pictures"
    wait_until(lambda: not app.pipeline.jobs, "the jobs of the page that has gone")


def test_many_pages_of_one_address_have_a_share_together(app: App) -> None:
    most, pages = app.pipeline.settings.server.jobs_per_address, []
    with app.page() as one, app.page() as two, app.page() as three, app.page() as elsewhere:
        for page in (one, two, three):
            for _ in range(4):
                page.ask("text", *text(**LONG), address="8.8.4.4")
            pages.append(page)
        wait_until(lambda: app.pipeline.jobs == most, "the share")
        answer = next(ends(three))
        assert "by people at your address" in answer["output"]["error"]
        elsewhere.ask("text", *text(**SHORT), address="1.1.1.1")
        assert next(ends(elsewhere))["success"]
    wait_until(lambda: not app.pipeline.jobs, "the jobs of the pages that have gone")


def test_a_page_that_is_closed_ends_its_jobs_though_its_calls_are_still_listened_to(app: App) -> None:
    with app.page() as listener:
        with app.page() as page:
            page.ask("text", *text(**LONG))
            wait_until(lambda: app.pipeline.jobs == 1, "the job")
            listener.session = page.session
        wait_until(lambda: not app.pipeline.jobs, "the job to end")


def test_sockets_of_one_address_leave_places_for_others() -> None:
    with serve(ARTFLOW_SERVER__SESSIONS_PER_ADDRESS="3") as served:
        mine, yours = ({"additional_headers": {"x-forwarded-for": address}} for address in ("8.8.4.4", "1.1.1.1"))
        people = [served.person("realtime", **mine).greeted() for _ in range(3)]
        error = served.person("canvas", **mine).until("error")
        assert error["code"] == "too_many_sessions" and "3 live sessions from your address" in error["message"]
        served.person("realtime", **yours).greeted()
        people[0].socket.close()
        wait_until(lambda: served.app.state.artflow.count() == 3, "the place")
        served.person("realtime", **mine).greeted()
        served.send_everybody_home()


def test_frames_over_the_limit_are_refused_and_keep_nobody_waiting(
    grown: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four people send frames of 16 megapixels as fast as they can: one more has pictures as if alone."""
    huge, begun, go_on = jpeg(1, 2, 3, size=(4096, 4096)), threading.Event(), threading.Event()

    def patient(data: bytes, *, max_pixels: int, **options: Any) -> Any:
        """One of a large picture takes until the test lets it go on."""
        if max_pixels > SMALL:
            begun.set()
            assert go_on.wait(PATIENCE)
        return decode(data, max_pixels=max_pixels, **options)

    with serve() as served:
        greedy = [served.person("realtime").greeted() for _ in range(4)]
        for person in greedy:
            header, _ = person.answer(huge)
            assert header["code"] == "picture_too_large" and "4096 x 4096" in header["message"]
        monkeypatch.setattr(live, "decode", patient)
        for person in greedy:
            person.send(jpeg(1, 2, 3, size=(2400, 2400)))
        assert begun.wait(PATIENCE)
        with served.person("realtime").greeted() as other:
            for _ in range(5):
                assert other.answer(jpeg(200, 20, 20))[1]
        go_on.set()
        for person in greedy:
            assert person.answers(1)
        served.send_everybody_home()
    assert grown() < 500


def test_many_slider_events_for_a_huge_resize_stay_small(grown: Callable[[], float]) -> None:
    previews, at_once, most = Previews(), 0, 0
    stack = read_stack([{"filter": "resize", "parameters": {"width": 8192, "height": 8192}}] * 3)
    picture = np.zeros((PREVIEW, PREVIEW, 3), np.uint8)

    def work(check: Callable[[int], None]) -> tuple[int, ...]:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return apply(stack, picture, draft=True, longest=PREVIEW, after_layer=check).shape
        finally:
            at_once -= 1

    class Request:
        session_hash = "one page"

    with ThreadPoolExecutor(40) as pool:
        shapes = list(pool.map(lambda _: previews.run(Request(), work), range(40)))  # type: ignore[arg-type]
    assert set(shapes) <= {(PREVIEW, PREVIEW, 3), None} and shapes.count(None) < 40
    assert most <= 2 and grown() < 100


def test_large_frames_that_cannot_be_used_take_no_place_for_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_LARGE", 1)
    large = jpeg(1, 2, 3, size=(2400, 2400))
    with serve() as served:
        greedy = served.person("realtime").greeted()
        assert greedy.answer(jpeg(1, 2, 3, size=(4096, 4096)))[0]["code"] == "picture_too_large"
        assert greedy.answer(large, width=70)[0]["code"] == "bad_size"
        with served.person("realtime").greeted() as other:
            assert other.answer(large)[1]
            assert greedy.answer(large)[0]["code"] == "busy"
        served.send_everybody_home()
