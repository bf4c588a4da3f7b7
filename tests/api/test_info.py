"""What the server says about itself (P4, P5)."""

from __future__ import annotations

import re
from datetime import datetime
from unittest.mock import Mock

import pytest

from artflow.api.state import Api
from artflow.machine import cores
from tests.api.client import PAGE, Served, jpeg, serve


@pytest.mark.parametrize("prefix", ["", PAGE])
@pytest.mark.parametrize("mode", ["realtime", "canvas", "inpaint"])
def test_settings_describe_a_mode(server: Served, mode: str, prefix: str) -> None:
    settings = server.http.get(f"{prefix}/api/{mode}/settings").json()
    assert set(settings) == {"info", "input_params", "performance", "max_queue_size", "page_content"}
    info = {name: about["default"] for name, about in settings["info"]["properties"].items()}
    assert (info["name"], info["input_mode"]) == (mode, "image")
    assert settings["max_queue_size"] == 64
    assert settings["page_content"].startswith("<h1>") and settings["page_content"] == info["page_content"]
    assert settings["performance"] == {
        "enable_similar_image_filter": False,
        "similar_image_filter_threshold": 0.98,
        "similar_image_filter_max_skip_frame": 10,
        "max_fps": 0,
        "jpeg_quality": 85 if mode == "realtime" else 95,
    }


def test_input_params_are_what_front_ends_build_controls_from(server: Served) -> None:
    params = server.http.get("/api/canvas/settings").json()["input_params"]["properties"]
    assert params["steps"] | {"field": "range", "min": 1, "max": 8, "step": 1, "default": 2} == params["steps"]
    assert params["strength"] | {"field": "range", "min": 0, "max": 1, "default": 0.75} == params["strength"]
    assert params["prompt"]["field"] == "textarea"
    assert params["enable_similar_image_filter"]["field"] == "checkbox"
    assert params["cfg_type"]["field"] == "select"
    assert params["cfg_type"]["values"] == ["none", "self", "initialize", "full"]
    assert all(about["id"] == name for name, about in params.items())


def test_every_default_can_be_sent_back(server: Served) -> None:
    """The earlier front ends send all parameters with every frame."""
    for mode in ("realtime", "canvas"):
        params = server.http.get(f"/api/{mode}/settings").json()["input_params"]["properties"]
        with server.person(mode).greeted() as person:
            header, data = person.answer(jpeg(9, 9, 9), **{name: about["default"] for name, about in params.items()})
            assert header.get("code") is None and data


def test_an_unknown_mode_has_no_settings(server: Served) -> None:
    assert server.http.get("/api/sculpture/settings").status_code == 422


def test_queues_count_open_sessions(server: Served) -> None:
    def queues() -> list[int]:
        return [server.http.get(f"/api/{mode}/queue").json()["queue_size"] for mode in ("realtime", "canvas")]

    assert queues() == [0, 0]
    with server.person("canvas").greeted():
        assert queues() == [0, 1]


def test_health(server: Served) -> None:
    health = server.http.get("/api/health").json()
    assert health["status"] == "healthy"
    assert datetime.fromisoformat(health["timestamp"]).tzinfo is not None
    assert set(health) == {"status", "timestamp", "database", "queue"}


def test_metrics(server: Served) -> None:
    idle = server.http.get("/api/metrics").json()
    assert idle | {"queue_length": 0, "worker_status": "idle", "active_jobs": 0} == idle
    assert idle["engine"]["starved"] in (True, False)
    assert not set(idle) & set(idle["engine"])  # each number is said once
    with server.person("canvas").greeted() as person:
        person.answer(jpeg(9, 9, 9), steps=1)
        metrics = server.http.get("/api/metrics").json()
    assert metrics["worker_status"] == "busy"
    for network in ("encode", "predict", "decode"):
        assert metrics["threads"]["tiny"][network][str(64 * 64)] in (1, cores())


def test_the_numbers_that_all_sessions_show_are_measured_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [100.0, 100.5, 100.9, 101.0, 101.5]
    monkeypatch.setattr("artflow.api.state.time", Mock(monotonic=Mock(side_effect=times)))
    pipeline = Mock()
    api = Api(pipeline)
    assert all(api.metrics is pipeline.metrics.return_value for _ in times)
    assert pipeline.metrics.call_count == 2
    api.close()


def test_prometheus_text(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        person.answer(jpeg(9, 9, 9))
        response = server.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    values = dict(re.findall(r"^(artflow_\w+) ([\d.e+]+)$", response.text, re.MULTILINE))
    assert float(values["artflow_sessions"]) == 1
    assert float(values["artflow_rows"]) >= float(values["artflow_model_calls"]) >= 1
    assert "# TYPE artflow_sessions gauge" in response.text
    assert re.findall(r"^artflow_starved (.+)$", response.text, re.MULTILINE) in (["0.0"], ["1.0"])
    assert 'artflow_threads{model="tiny",network="predict",pixels="4096"}' in response.text


def test_the_routes_are_documented(server: Served) -> None:
    assert server.http.get("/docs").status_code == 200
    paths = server.http.get("/openapi.json").json()["paths"]
    for path in ("/api/{mode}/settings", "/api/inpaint/stream/{user_id}", "/api/health", "/metrics"):
        assert path in paths
    assert not any(path.startswith(PAGE) for path in paths)  # the same once more would only confuse


def test_an_engine_that_has_ended_is_not_healthy() -> None:
    with serve() as served:
        assert served.http.get("/api/health").status_code == 200
        served.pipeline.client.engine.close()
        response = served.http.get("/api/health")
        assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
