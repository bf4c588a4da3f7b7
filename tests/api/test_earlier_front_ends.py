"""The front ends of the earlier servers, as their sources have them: they go on until they hear of an ``error``.

They are the two Svelte pages of StreamDiffusion's ``demo/realtime-img2img`` and of Real-Time-Latent-Consistency-Model,
and the text client ``demo/realtime-txt2img``. In a browser: tests/e2e/test_earlier_front_end.py.
"""

from __future__ import annotations

import base64
import time
from typing import Any

import httpx
import pytest

from tests.api.client import PAGE, Served, jpeg, opened
from tests.api.test_legacy_socket import LegacyPerson
from tests.api.test_stream import Watcher

RED = jpeg(200, 20, 20)
KNOWN = {"range", "seed", "textarea", "checkbox", "select"}  # fields that they draw; any other they leave out


def fields(server: Served) -> dict[str, dict[str, Any]]:
    """The parameters that they draw, by name."""
    properties = server.http.get("/api/settings").json()["input_params"]["properties"]
    return {name: about for name, about in properties.items() if about["field"] in KNOWN}


def values(server: Served) -> dict[str, Any]:
    """What they send with every frame: the value of each field, at first its default."""
    kinds = {"range": float, "seed": float, "textarea": str, "checkbox": bool, "select": str}
    return {name: kinds[about["field"]](about["default"]) for name, about in fields(server).items()}


class FrontEnd(LegacyPerson):
    """Sends a frame whenever it is asked, and takes ``error`` for the end."""

    def __init__(self, server: Served) -> None:
        super().__init__(server)
        self.values = values(server)
        self.told: list[str] = []  # the sentences that it was sent, which it passes over

    def run_until(self, watcher: Watcher, height: int) -> None:
        """Go on until a picture of this height is shown."""
        while watcher.files.empty() or watcher.picture().shape[0] != height:
            message = self.receive()[0]
            assert message["status"] in ("connected", "send_frame", "wait"), message
            if message["status"] == "send_frame":
                self.send(RED, **self.values)
            self.told += [message["message"]] if "message" in message else []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an odd width": ({"width": 129}, "width 129 is not a multiple of 8: the nearest are 128 and 136."),
    "a long prompt": ({"prompt": "x" * 1_200}, "`prompt` has 1200 characters; at most 1000 are allowed."),
    "a strength of 7": ({"strength": 7}, "parameter `strength` cannot be 7: Input should be less than or equal to 1."),
    "a setting of another server": ({"controlnet_scale": 0.8}, "parameter `controlnet_scale` does not exist"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_setting_costs_neither_the_frame_nor_the_others(server: Served, what: str) -> None:
    wrong, sentence = REFUSED[what]
    with FrontEnd(server) as page, Watcher(server, f"/api/stream/{page.user_id}") as watcher:
        page.run_until(watcher, 64)
        assert page.told == []
        page.values |= wrong | {"height": 128.0}  # which is good
        page.run_until(watcher, 128)
        assert page.told and all(told.startswith(sentence) for told in page.told)


@pytest.mark.parametrize("name", ["width", "steps", "seed", "strength", "guidance_scale", "num_inference_steps"])
def test_an_emptied_number_field_is_not_set(server: Served, name: str) -> None:
    with FrontEnd(server) as page, Watcher(server, f"/api/stream/{page.user_id}") as watcher:
        page.values |= {name: None, "height": 128.0}
        page.run_until(watcher, 128)
        assert page.told == []


def test_a_broken_picture_is_not_the_end(server: Served) -> None:
    with FrontEnd(server) as page, Watcher(server, f"/api/stream/{page.user_id}") as watcher:
        page.until("send_frame")
        page.send(b"no picture", **page.values)
        told = page.until("wait")
        assert told["code"] == "bad_picture" and told["message"]
        page.run_until(watcher, 64)


def test_what_settings_offer_is_never_refused(server: Served) -> None:
    """Each slider at both ends and a step further than its default, each choice, each box on and off."""
    with FrontEnd(server) as page:
        page.until("send_frame")
        for name, about in fields(server).items():
            offered = list(about.get("values", ())) or [about["default"]]
            if about["field"] == "checkbox":
                offered = [False, True]
            if about["field"] in ("range", "seed"):
                offered = [about["min"], about["max"], about["default"] + about["step"]]
            for value in offered:
                page.send(b"", **page.values | {name: value})
                assert page.receive()[0] == {"status": "send_frame"}, (name, value)


def test_settings_say_what_they_draw_and_where(server: Served) -> None:
    told = server.http.get("/api/settings").json()["input_params"]["properties"]
    assert told["seed"]["field"] == "seed"
    assert [name for name, about in told.items() if not about["hide"]] == ["prompt", "steps", "strength"]
    assert {name for name, about in told.items() if about["disabled"]} == {*told} - {*fields(server)}
    for side in ("width", "height"):
        assert told[side] | {"min": 16, "max": 1024, "step": 8, "default": 64} == told[side]


@pytest.mark.parametrize("prefix", ["", PAGE])
def test_the_text_client_gets_another_picture_each_time(server: Served, prefix: str) -> None:
    answers = [server.http.post(f"{prefix}/api/predict", json={"prompt": "a fox"}) for _ in range(2)]
    assert [*answers[0].json()] == ["base64_image"]
    files = [base64.b64decode(answer.json()["base64_image"]) for answer in answers]
    assert all(file.startswith(b"\xff\xd8") and opened(file).shape == (64, 64, 3) for file in files)
    assert files[0] != files[1]


def test_a_prompt_that_is_too_long_is_answered_with_a_sentence(server: Served) -> None:
    answer = server.http.post("/api/predict", json={"prompt": "x" * 1_200})
    assert answer.status_code == 422 and "1200 characters" in answer.json()["message"]


def test_a_picture_that_nobody_waits_for_any_more_is_not_made(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[float] = []

    def generate(changes: dict[str, Any], context: Any) -> list[Any]:
        assert context.cancelled.wait(20)
        cancelled.append(time.monotonic())
        return []

    monkeypatch.setattr(server.pipeline, "generate", generate)
    with pytest.raises(httpx.ReadTimeout):
        server.http.post("/api/predict", json={"prompt": "a fox"}, timeout=0.5)
    end = time.monotonic() + 10
    while not cancelled:
        assert time.monotonic() < end, "it is still being made"
        time.sleep(0.05)
