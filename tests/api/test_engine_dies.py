"""An engine in a process of its own dies under live pages: they are told in words, and go on by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import pytest

from artflow.api.channel import Channel, Outgoing
from artflow.api.live import _answer
from artflow.engine.process_client import ProcessClient
from artflow.engine.stream_policy import Result
from artflow.errors import ArtflowError
from tests.api.client import jpeg, opened, serve
from tests.support.live import PATIENCE


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


def refused() -> bool:
    """As a repetition is where the picture does not go with newer settings."""
    raise ArtflowError("bad_size", "It does not fit.")


@pytest.mark.parametrize(
    ("healthy", "repeat", "answered"),
    [
        (True, lambda: True, False),  # the answer that counts is still to come
        (True, lambda: False, True),  # a camera
        (True, refused, True),
        (False, lambda: True, True),  # it would be answered so again and again
    ],
)
def test_a_lost_frame_frees_its_place_unless_its_picture_comes_back(
    healthy: bool, repeat: Callable[[], bool], answered: bool
) -> None:
    async def run(work: Callable[[], bool]) -> bool:
        return work()

    async def told() -> Outgoing:
        api, channel = Mock(), Channel(None, "", results=True)
        api.pipeline.healthy, api.pool.run = healthy, run
        channel.fates.put_nowait((Result(7, 0.1, error=ArtflowError("engine_stopped", "It stopped.")), 0.0))
        answering = asyncio.create_task(_answer(api, channel, Mock(repeat=repeat, newest=7)))
        try:
            async with asyncio.timeout(PATIENCE):
                return await channel.outbox.get()
        finally:
            answering.cancel()

    with ThreadPoolExecutor(1) as thread:  # in this one a browser of other tests may have its event loop
        answer = thread.submit(asyncio.run, told()).result(PATIENCE)
    assert isinstance(answer.data, dict) and answer.data.get("frame") == (7 if answered else None)
    assert (answer.then is not None) == answered
