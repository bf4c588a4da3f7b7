"""The live sockets word by word (P1): greeting, places, frames, results, settings alone, errors."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.api.client import PAGE, PATIENCE, Served, jpeg, opened, packed
from tests.api.test_stream import Watcher
from tests.support.live import difference, held

RED, GREEN, BLUE = jpeg(200, 20, 20), jpeg(20, 200, 20), jpeg(20, 20, 200)


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
@pytest.mark.parametrize("prefix", ["", PAGE])
def test_the_greeting_says_connected_and_asks_for_frames(server: Served, mode: str, prefix: str) -> None:
    """For as many strokes as may be under way at once; of a camera for the one that can be used now."""
    with server.person(mode, prefix=prefix) as person:
        connected, _ = person.receive()
        places = connected["max_in_flight"]
        assert connected.items() >= {"status": "connected", "max_in_flight": places, "width": 64, "height": 64}.items()
        model = server.pipeline.spec.id
        assert connected["models"] == [model]
        params = server.pipeline.parameters.live(mode)
        assert (connected["strength"], connected["steps"]) == (params.strength, params.steps)
        assert places == {"canvas": 4, "realtime": 4 + 7}[mode]  # a stream of 8 steps keeps 7 frames inside
        asked = {"canvas": 4, "realtime": 1}[mode]
        assert [person.receive()[0] for _ in range(asked)] == [{"status": "send_frame"}] * asked
        person.send(steps="many")  # whose answer is the next thing that comes
        assert person.receive()[0]["status"] == "error"


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_a_stream_of_many_steps_gets_the_frames_it_takes(server: Served, steps: int) -> None:
    """Frames inside the stream are pushed on by others: for each that enters, the next is asked for."""
    with server.person("realtime") as person:
        person.until("connected")
        pictures = sent = 0
        while pictures < 3:
            message, data = person.receive()
            pictures += bool(data)
            if message == {"status": "send_frame"}:
                person.send(RED, steps=steps, strength=1.0)
                sent += 1
        assert sent >= steps + 2


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_a_frame_is_answered_by_its_number_recipe_and_jpeg(server: Served, mode: str) -> None:
    with server.person(mode).greeted() as person:
        header, data = person.answer(RED, frame=7, prompt="a fox", seed=5)
        assert header["frame"] == 7
        assert (header["seed"], header["skipped"], header["dropped"]) == (5, False, False)
        assert header["latency_ms"] > 0
        assert header["recipe"] | {"prompt": "a fox", "seed": 5, "mode": mode, "model": "tiny"} == header["recipe"]
        assert data[:2] == b"\xff\xd8" and opened(data).shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_frames_may_be_jpeg_png_or_webp(server: Served, kind: str) -> None:
    with server.person("canvas").greeted() as person:
        expected = opened(person.answer(jpeg(90, 90, 90, kind="PNG"))[1]).mean()
        assert opened(person.answer(jpeg(90, 90, 90, kind=kind))[1]).mean() == pytest.approx(expected, abs=2)


def test_without_results_only_requests_come_back(server: Served) -> None:
    with (
        server.person(results=False).greeted() as person,
        Watcher(server, f"/api/realtime/stream/{person.user_id}") as watcher,
    ):
        for _ in range(3):
            person.send(RED)
            watcher.picture()
            assert person.receive()[0] == {"status": "send_frame"}


def test_frames_without_a_number_are_counted(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        assert [person.answer(RED)[0]["frame"] for _ in range(3)] == [0, 1, 2]


def test_live_numbers_come_with_the_results(server: Served) -> None:
    with server.person() as person:
        while "stats" not in (message := person.socket.recv(10)):
            pass
        for name in ("fps", "latency_ms_p50", "latency_ms_p95", "dropped", "skipped", "waiting", "stage", "sessions"):
            assert f'"{name}"' in message


# -- settings alone -----------------------------------------------------------------------------------------------


def test_settings_alone_wait_for_the_next_webcam_frame(server: Served) -> None:
    with server.person("realtime").greeted() as person:
        person.answer(RED)
        person.send(prompt="a new one", seed=9)
        header, _ = person.answer(RED)
        assert (header["recipe"]["prompt"], header["seed"]) == ("a new one", 9)


def test_settings_alone_show_a_drawing_again_under_its_number(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        person.send(prompt="before any drawing")
        before, first = person.answer(RED, frame=3)
        after, second = person.answer(prompt="a new one", seed=9)
        assert before["frame"] == after["frame"] == 3
        assert after["recipe"]["prompt"] == "a new one"
        assert difference(opened(first), opened(second)) > 10
        person.send(prompt="a new one")  # nothing has changed
        assert person.answer(RED, frame=4)[0]["frame"] == 4


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_settings_alone_neither_use_nor_bring_a_request(server: Served, mode: str) -> None:
    """However many come, and though nobody asked for them."""
    with server.person(mode).greeted() as person:
        for i in range(100):
            person.send(prompt=f"prompt {i}")
        header, _ = person.answer(RED)
        assert header["recipe"]["prompt"] == "prompt 99"
        person.answer(steps=99)  # an error comes after whatever was on its way
        assert person.requests <= {"canvas": 4, "realtime": 2}[mode] + 1


@pytest.mark.parametrize("mode", ["realtime", "canvas"])
def test_places_never_get_fewer_or_more(server: Served, mode: str) -> None:
    """Whatever is sent, nothing is left over of it: after all of it, four frames fit as at first."""
    with server.person(mode).greeted() as person:
        for i in range(6):
            person.answer(RED)
            if mode == "canvas":  # a drawing shows the new prompt
                person.answer(prompt=f"prompt {i}")
            else:
                person.send(prompt=f"prompt {i}")
            person.send()
            assert person.answer(b"no picture")[0]["code"] == "bad_picture"
            assert person.answer(steps="many")[0]["code"] == "bad_parameter"
        with held(server.pipeline.client.engine):
            for i in range(4):
                person.send(GREEN, frame=100 + i)
        assert sorted(person.answers(4)) == [100, 101, 102, 103]


# -- what is answered ---------------------------------------------------------------------------------------------


def test_a_webcam_that_is_too_fast_is_told_which_frames_were_dropped(server: Served) -> None:
    with server.person("realtime").greeted() as person:
        with held(server.pipeline.client.engine):
            for i in range(4):
                person.send(RED, frame=i)
            dropped = person.answers(3)
        assert sorted(dropped) == [0, 1, 2]
        assert all(header["dropped"] and not data for header, data in dropped.values())
        header, data = person.answers(1)[3]
        assert not header["dropped"] and data


def test_a_skipped_frame_sends_no_picture_again(server: Served) -> None:
    with server.person("realtime").greeted() as person:
        person.answer(RED, enable_similar_image_filter=True)
        header, data = person.answer(RED)
        assert header["skipped"] and not data and "recipe" not in header


def test_every_stroke_is_answered_in_order(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        for i, picture in enumerate([RED, GREEN, BLUE, RED]):
            person.send(picture, frame=i)
        answers = {number: opened(data) for number, (_, data) in person.answers(4).items()}
        assert list(answers) == [0, 1, 2, 3]
        assert difference(answers[0], answers[3]) == 0
        assert difference(answers[0], answers[1]) > 10


def test_the_quality_of_the_jpeg_can_be_chosen(server: Served) -> None:
    with server.person("canvas").greeted() as person:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        fine = person.answer(jpeg(*noise[0, 0]), jpeg_quality=95)[1]
        coarse = person.answer(jpeg(*noise[0, 0]), jpeg_quality=10)[1]
        assert len(coarse) < len(fine) / 2


def test_two_modes_of_one_id_are_two_sessions(server: Served) -> None:
    camera, canvas = server.person("realtime", user_id="both"), server.person("canvas", user_id="both")
    with camera, canvas.greeted():
        assert canvas.answer(RED)[0]["recipe"]["mode"] == "canvas"


def test_people_at_once_get_their_own_pictures(server: Served) -> None:
    """Through sockets and threads and JPEG: what came back is what each gets alone."""
    colours = [(230, 30, 30), (30, 230, 30), (30, 30, 230), (230, 230, 30)]

    def stream(i: int, out: dict[int, list]) -> None:
        with server.person("canvas").greeted() as person:
            settings = {"prompt": f"person {i}", "seed": i, "steps": 1 + i % 3}
            out[i] = [opened(person.answer(jpeg(*colours[i]), **settings)[1]) for _ in range(5)]

    together: dict[int, list] = {}
    threads = [threading.Thread(target=stream, args=(i, together)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i in range(4):
        alone: dict[int, list] = {}
        stream(i, alone)
        for ours, theirs in zip(together[i], alone[i], strict=True):
            assert np.abs(ours.astype(int) - theirs).mean() < 1
        assert all(difference(alone[i][0], together[j][0]) > 20 for j in range(4) if j != i)


def test_an_unknown_mode_has_no_socket(server: Served) -> None:
    with pytest.raises(Exception, match="HTTP 403"):
        server.person("sculpture")


def test_a_message_in_one_piece_is_what_the_specification_says(server: Served) -> None:
    """Byte for byte, without our own packing."""
    message = packed({"status": "next_frame", "frame": 1}, RED)
    assert message[:4] == len(message[4 : -len(RED)]).to_bytes(4, "big")
    with server.person("canvas").greeted() as person:
        person.socket.send(message)
        while isinstance(answer := person.socket.recv(PATIENCE), str):
            pass  # live numbers
        length = int.from_bytes(answer[:4], "big")
        assert answer[4:5] == b"{" and answer[3 + length : 4 + length] == b"}"
        assert answer[4 + length :][:2] == b"\xff\xd8"
