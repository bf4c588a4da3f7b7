"""An engine in a process of its own dies under live pages: they are told in words, and go on by themselves."""

from __future__ import annotations

from artflow.engine.process_client import ProcessClient
from tests.api.client import jpeg, opened, serve


def test_live_pages_are_told_and_go_on_by_themselves() -> None:
    with serve(ARTFLOW_MODEL__ENGINE="process") as served:
        client = served.pipeline.client
        assert isinstance(client, ProcessClient) and client._process is not None
        with served.person("canvas").greeted() as painter, served.person().greeted() as camera:
            header, before = painter.answer(jpeg(200, 30, 30), frame=7, max_fps=0.0)
            assert header["frame"] == 7
            camera.answer(jpeg(30, 200, 30), steps=1)

            painter.send(jpeg(30, 30, 200), frame=8, max_fps=0.01)  # waits for minutes
            painter.send(jpeg(200, 30, 30), frame=9)
            client._process.kill()
            told = painter.until("error")
            assert told["code"] == "engine_stopped" and "SIGKILL" in told["message"]
            painter.send(max_fps=0.0)
            while not (picture := painter.answers(1).get(9, ({}, b""))[1]):
                pass
            assert opened(picture).shape == opened(before).shape

            camera.send(jpeg(30, 200, 30))
            assert camera.answers(1)
            painter.answer(jpeg(30, 200, 30), frame=10)  # all places are free again
        assert served.http.get("/api/health").status_code == 200
