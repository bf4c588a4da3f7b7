"""A stream with a second model: each frame is answered once, whatever is changed or closed at any moment."""

from __future__ import annotations

from typing import Any

import numpy as np

from artflow.engine.frame import Frame, Outcome
from artflow.engine.params import LiveParams
from artflow.engine.second_pass import Part, SecondPass
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import Result
from artflow.models.info import ModelInfo
from tests.support.live import DRAWING, SIDE, noisy

FIRST, SECOND, OTHER = (
    ModelInfo(name, SIDE, SIDE, 8, False, False, "once", 1000, False, None) for name in ("first", "second", "other")
)
RECIPE = {"prompt": "", "width": SIDE, "height": SIDE, "stage": "full", "model": "first", "strength": 1.0, "seed": 1}


class Session:
    """The engine's end: what it was given; the test says what becomes of it."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.closed = False

    def put(self, frame: Frame) -> None:
        self.frames.append(frame)

    def use(self, params: LiveParams) -> None: ...

    def skipped(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class Scene:
    """A stream, its sessions by the model that serves them, and what its person hears."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.passes: dict[str, Any] = {}
        self.results: list[Result] = []
        params = LiveParams(width=SIDE, height=SIDE)
        self.stream = LiveStream(FIRST, params, DRAWING, self.results.append, attach=self.attach)
        self.attach(self.stream)

    def attach(self, served: LiveStream | SecondPass) -> None:
        session = self.sessions[served.model.id] = Session()
        self.passes[served.model.id] = served
        served.serve(session)

    def use(self, *models: ModelInfo) -> None:
        params = self.stream.params
        self.stream.update(params, [Part(model, params) for model in models])

    def finish(self, model: str, number: int) -> None:
        recipe = RECIPE | {"model": model}
        self.passes[model].finished(Outcome(number, np.zeros((SIDE, SIDE, 3), np.uint8), recipe))

    @property
    def fates(self) -> list[tuple[int, bool]]:
        return [(result.frame, result.dropped) for result in self.results]


def test_the_second_gets_what_the_first_has_made() -> None:
    scene = Scene()
    scene.use(FIRST, SECOND)
    scene.stream.submit(noisy(1))
    scene.finish("first", 0)
    assert not scene.results and [frame.number for frame in scene.sessions["second"].frames] == [0]
    scene.finish("second", 0)
    assert scene.fates == [(0, False)]
    recipe = scene.results[0].recipe
    assert recipe is not None and recipe["painted_over"] == {"model": "second", "strength": 1.0}


def test_what_the_second_has_is_dropped_when_it_is_left_out() -> None:
    scene = Scene()
    scene.use(FIRST, SECOND)
    scene.stream.submit(noisy(1))
    scene.finish("first", 0)
    scene.use(FIRST)
    scene.finish("second", 0)  # too late
    assert scene.fates == [(0, True)] and scene.sessions["second"].closed


def test_a_picture_that_comes_as_the_second_is_closed_is_dropped_and_not_lost() -> None:
    scene = Scene()
    scene.use(FIRST, SECOND)
    scene.stream.submit(noisy(1))
    scene.passes["second"].close()
    scene.finish("first", 0)
    assert scene.fates == [(0, True)]


def test_what_the_first_has_is_dropped_when_the_stream_moves() -> None:
    scene = Scene()
    scene.stream.submit(noisy(1))
    scene.use(OTHER)
    scene.stream.submit(noisy(2))
    scene.finish("other", 1)
    assert scene.fates == [(0, True), (1, False)]
    assert scene.sessions["first"].closed and not scene.sessions["other"].closed


def test_nothing_stays_open_of_a_stream_that_is_closed_meanwhile() -> None:
    scene = Scene()
    scene.use(FIRST, SECOND)
    scene.stream.close()
    scene.attach(scene.stream)
    assert all(session.closed for session in scene.sessions.values())


def test_what_the_second_gave_up_under_load_is_said() -> None:
    scene = Scene()
    scene.use(FIRST, SECOND)
    scene.stream.submit(noisy(1))
    scene.finish("first", 0)
    recipe = RECIPE | {"model": "second", "stage": "half size", "crossfade": 0.5}
    scene.passes["second"].finished(Outcome(0, np.zeros((SIDE, SIDE, 3), np.uint8), recipe))
    assert scene.stream.stage == "half size"
    assert scene.results[0].recipe is not None and scene.results[0].recipe["crossfade"] == 0.5
