"""The live inpaint socket: the protocol of the others, over pictures whose transparent part is made anew."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.api.client import PAGE, Served, jpeg, opened
from tests.api.test_stream import Watcher
from tests.support.live import difference, held

INSIDE = (slice(20, 40), slice(30, 60))


def scene() -> np.ndarray:
    """Smooth colours, 70 high and 100 wide: JPEG changes them by little."""
    y, x = np.mgrid[0:70, 0:100]
    return np.dstack([2 * x, 3 * y, 255 - 2 * x]).astype(np.uint8)


def see_through(kind: str = "PNG", inside: tuple[slice, slice] = INSIDE) -> bytes:
    """The scene as a file with a transparent part."""
    opacity = np.full((70, 100), 255, np.uint8)
    opacity[inside] = 0
    out = io.BytesIO()
    lossless = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    Image.fromarray(np.dstack([scene(), opacity])).save(out, kind, **lossless)
    return out.getvalue()


def off_by(data: bytes) -> np.ndarray:
    """How far each pixel of an answer is from the scene, in grey levels."""
    return np.abs(opened(data).astype(int) - scene()).max(-1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("prefix", ["", PAGE])
def test_the_transparent_part_is_made_anew_and_the_rest_comes_back(server: Served, kind: str, prefix: str) -> None:
    with server.person("inpaint", prefix=prefix).greeted() as person:
        header, data = person.answer(see_through(kind), frame=4, prompt="a fox", seed=5, feather=4)
        assert header["frame"] == 4
        assert header["recipe"] | {"mode": "live-inpaint", "prompt": "a fox", "feather": 4} == header["recipe"]
        off = off_by(data)
        outside = np.ones_like(off, dtype=bool)
        outside[8:52, 18:72] = False  # the feather, and the blocks of JPEG that it falls into
        assert off[outside].max() <= 6
        assert off[INSIDE].mean() > 20


def test_a_typed_prompt_alone_is_answered_anew(server: Served) -> None:
    with server.person("inpaint").greeted() as person:
        person.send(prompt="before any picture")
        first, before = person.answer(see_through(), frame=3)
        second, after = person.answer(prompt="a red balloon")
        assert first["frame"] == second["frame"] == 3
        assert second["recipe"]["prompt"] == "a red balloon"
        changed = np.abs(opened(before).astype(int) - opened(after)).max(-1)
        assert changed[INSIDE].mean() > 10 and changed[-8:].max() <= 6


def test_only_the_newest_text_is_rendered(server: Served) -> None:
    """What was typed while the model was busy is passed over."""
    with server.person("inpaint").greeted() as person:
        person.answer(see_through(), prompt="start")
        calls = server.pipeline.client.engine.metrics.calls
        with held(server.pipeline.client.engine):
            for text in ("a", "a re", "a red"):
                person.send(prompt=text)
            assert person.answer(steps="many")[0]["code"] == "bad_parameter"  # all that came before is taken in
        header, picture = person.answers(1)[0]
        assert picture
        assert header["recipe"]["prompt"] == "a red"
        assert server.pipeline.client.engine.metrics.calls == calls + header["recipe"]["steps"]


def test_a_picture_that_waits_under_new_settings_is_answered_once_with_its_picture(server: Served) -> None:
    """A page forgets what it sent with the first answer."""
    with server.person("inpaint").greeted() as person:
        with held(server.pipeline.client.engine):
            person.send(see_through(), frame=5)
            for text in ("a", "a re", "a red"):
                person.send(prompt=text)
            person.send(steps="many")
            assert person.until("error")["code"] == "bad_parameter"  # all that came before is taken in
        header, picture = person.answers(1)[5]
        assert picture and header["recipe"]["prompt"] == "a red"


def test_the_newest_mask_wins(server: Served) -> None:
    with server.person("inpaint").greeted() as person:
        with held(server.pipeline.client.engine):
            for i in range(3):
                person.send(see_through(inside=(slice(20, 40), slice(30, 40 + 10 * i))), frame=i)
            dropped = person.answers(2)
        assert all(header["dropped"] for header, _ in dropped.values())
        header, data = person.answers(1)[2]
        assert data and not header["dropped"]


@pytest.mark.parametrize("picture", [see_through(inside=(slice(0), slice(0))), jpeg(9, 9, 9)], ids=["PNG", "JPEG"])
def test_nothing_to_make_anew_is_one_sentence_and_the_session_goes_on(server: Served, picture: bytes) -> None:
    with server.person("inpaint").greeted() as person:
        error, _ = person.answer(picture, frame=2)
        assert error == {
            "status": "error", "code": "empty_mask", "frame": 2,
            "message": "The mask is empty; paint over what to change.",
        }  # fmt: skip
        assert person.answer(see_through())[1]


def test_a_picture_too_large_to_follow_is_one_sentence(server: Served) -> None:
    with server.person("inpaint").greeted() as person:
        error, _ = person.answer(jpeg(9, 9, 9, size=(1100, 20)))
        assert error["code"] == "picture_too_large"
        assert error["message"].startswith("The picture is 1100 x 20; live it may have 1024 pixels a side")
        error, _ = person.answer(see_through(), width=70)
        assert error["code"] == "bad_size" and "the nearest are 64 and 72" in error["message"]
        assert person.answer(see_through(), width=96, height=96)[0]["recipe"]["width"] == 96


def test_every_default_can_be_sent_back(server: Served) -> None:
    params = server.http.get("/api/inpaint/settings").json()["input_params"]["properties"]
    assert params["feather"] | {"field": "range", "min": 0, "max": 256} == params["feather"]
    assert params["only_masked"]["field"] == "checkbox"
    with server.person("inpaint").greeted() as person:
        header, data = person.answer(see_through(), **{name: about["default"] for name, about in params.items()})
        assert header.get("code") is None and data


def test_the_stream_has_the_whole_picture(server: Served) -> None:
    with server.person("inpaint").greeted() as person:
        answer = opened(person.answer(see_through())[1])
        with Watcher(server, f"/api/inpaint/stream/{person.user_id}") as watcher:
            assert difference(watcher.picture(), answer) == 0


def test_people_with_masks_and_without_get_their_own_pictures(server: Served) -> None:
    """One canvas and two masked pictures in one engine, each as if alone."""

    def picture(mode: str, data: bytes, seed: int) -> np.ndarray:
        with server.person(mode).greeted() as person:
            return opened(person.answer(data, prompt=f"person {seed}", seed=seed)[1])

    wishes = [("inpaint", see_through(), 1), ("canvas", jpeg(20, 200, 20), 2), ("inpaint", see_through(), 3)]
    alone = [picture(*wish) for wish in wishes]
    people = [server.person(mode).greeted() for mode, _, _ in wishes]
    with held(server.pipeline.client.engine):
        for person, (_, data, seed) in zip(people, wishes, strict=True):
            person.send(data, frame=0, prompt=f"person {seed}", seed=seed)
    for person, expected in zip(people, alone, strict=True):
        assert np.abs(opened(person.answers(1)[0][1]).astype(int) - expected).mean() < 1
    assert np.abs(alone[0].astype(int) - alone[2])[INSIDE].mean() > 10  # a mix-up would have shown
