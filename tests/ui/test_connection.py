"""What both views do about loading, errors, and connections that come and go."""

from __future__ import annotations

import re
from itertools import pairwise

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support.network import Network
from tests.ui.driver import Canvas, Webcam, wait_until
from tests.ui.echo_server import Echo


def test_lost_connection_comes_back_with_all_parameters(webcam: Webcam, echo: Echo) -> None:
    webcam.set(strength=0.4, negative_prompt="blur")
    webcam.start()
    wait_until(webcam.page, lambda: echo.last_parameters().get("strength") == 0.4, "the parameters")
    shown = webcam.shown()
    echo.hang_up()
    webcam.wait_state("waiting")
    expect(webcam.part(".af-status")).to_have_text(
        re.compile("^Connection lost; your settings are kept. Trying again in 1 s")
    )
    webcam.set(seed=9)  # while nobody listens
    webcam.wait_state("open")
    webcam.wait_shown(shown + 5)
    wanted = {"strength": 0.4, "negative_prompt": "blur", "seed": 9, "prompt": "first light"}
    assert echo.last_parameters() == wanted
    assert len(echo.connections) == 2 and len(set(echo.connections)) == 1, "the id, which frees what the lost one holds"


def test_network_that_goes_silent_is_left_for_a_new_connection(page: Page, echo: Echo, url: str) -> None:
    """A cut network ends no socket, neither here nor there."""
    network = Network(httpx.URL(url).port or 0)
    webcam = Webcam(page)
    webcam.open(f"http://127.0.0.1:{network.port}")
    webcam.start()
    shown = webcam.shown()
    network.cut()
    wait_until(page, lambda: len(echo.connections) == 2, "a new connection")
    webcam.wait_shown(max(shown, echo.frames[-1].number) + 3)
    network.close()


def test_waits_longer_after_each_failure(page: Page, echo: Echo, url: str) -> None:
    page.add_init_script("""
      window.opened = [];
      window.WebSocket = class extends EventTarget {
        constructor() {
          super();
          opened.push(performance.now());
          setTimeout(() => this.onclose({code: 1006}), 5);
        }
        close() {}
      };""")
    webcam = Webcam(page)
    webcam.open(url)
    webcam.click(".af-start")
    page.wait_for_function("opened.length >= 4")
    opened = page.evaluate("opened")
    gaps = [round(b - a) for a, b in pairwise(opened)]
    assert gaps[0] >= 500 and gaps[1] >= 1000 and gaps[2] >= 2000, gaps


def test_strokes_on_their_way_are_sent_again_after_a_loss(canvas: Canvas, echo: Echo) -> None:
    echo.delay = 60
    canvas.brush_size(40)
    canvas.stroke((0.2, 0.3), (0.8, 0.3))
    canvas.stroke((0.2, 0.7), (0.8, 0.7))
    wait_until(canvas.page, lambda: len(echo.frames) >= 2, "the strokes")
    echo.delay = 0
    before = len(echo.frames)
    echo.hang_up()
    canvas.wait_result(0.5, 0.7, (228, 228, 224))
    again = [frame.image() for frame in echo.frames[before:]]
    strokes = [sum(max(image.getpixel((256, y))) < 80 for y in (154, 358)) for image in again]
    assert strokes[:2] == [1, 2], "each stroke in its own state, in the order of drawing"


def test_loading_shows_its_progress_until_connected(webcam: Webcam, echo: Echo) -> None:
    echo.loading = [
        {"message": "Downloading sd-turbo", "progress": 0.42},
        {"message": "Preparing sd-turbo", "progress": None},
    ]
    hint = webcam.part(".af-result .af-empty")
    expect(hint).to_be_visible()
    webcam.click(".af-start")
    expect(webcam.part(".af-veil-text")).to_have_text("Downloading sd-turbo")
    expect(hint).to_be_hidden()
    assert webcam.part(".af-veil progress").evaluate("bar => bar.value") == 0.42
    echo.loaded = 1
    expect(webcam.part(".af-veil-text")).to_have_text("Preparing sd-turbo")
    assert webcam.part(".af-veil progress").evaluate("bar => bar.position") == -1, "no end in sight"
    webcam.click(".af-start")
    expect(hint).to_be_visible()
    echo.loaded = 2
    webcam.click(".af-start")
    webcam.wait_shown(1)
    expect(webcam.part(".af-veil")).to_be_hidden()
    expect(hint).to_be_hidden()


def test_error_is_shown_and_the_session_goes_on(webcam: Webcam, echo: Echo) -> None:
    sentence = "guidance_scale is 99; it must be from 0 to 20."
    webcam.start()
    echo.error = {"code": "bad_parameter", "message": sentence}
    webcam.wait_error(sentence)
    frames = len(echo.frames)
    wait_until(webcam.page, lambda: len(echo.frames) > frames + 10, "more frames than there are places")
    echo.error = None
    webcam.wait_shown(echo.frames[-1].number + 3)
    expect(webcam.part(".af-error")).to_be_hidden()


def test_error_text_is_text(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    hostile = "<img src=x onerror='window.hacked=1'> ${window.hacked=1} {{value}}"
    echo.say({"status": "error", "code": "bad", "message": hostile})
    webcam.wait_error(hostile)
    assert webcam.page.evaluate("window.hacked") is None


def test_failed_strokes_count_as_answered(canvas: Canvas, echo: Echo) -> None:
    echo.error = {"code": "engine", "message": "The model failed. Try again."}
    for y in (0.2, 0.4, 0.6, 0.8):
        canvas.stroke((0.2, y), (0.8, y))
    canvas.wait_error("The model failed. Try again.")
    expect(canvas.part(".af-waiting")).to_be_hidden()


NO_MEMORY = """() => {
  const toBlob = HTMLCanvasElement.prototype.toBlob;
  window.noMemory = true;
  HTMLCanvasElement.prototype.toBlob = function (done, ...rest) {
    if (window.noMemory) setTimeout(() => done(null), 5);
    else toBlob.call(this, done, ...rest);
  };
}"""  # what browsers do then


def test_stroke_that_the_browser_cannot_encode_holds_up_no_other(canvas: Canvas, echo: Echo) -> None:
    canvas.page.evaluate(NO_MEMORY)
    canvas.brush_size(40)
    for y in (0.3, 0.5):
        canvas.stroke((0.2, y), (0.8, y))
    canvas.wait_error(re.compile("^The browser could not make a picture"))
    expect(canvas.part(".af-waiting")).to_be_hidden()
    assert not echo.frames
    canvas.page.evaluate("window.noMemory = false")
    canvas.stroke((0.2, 0.7), (0.8, 0.7))
    for y in (0.3, 0.5, 0.7):
        canvas.wait_result(0.5, y, (228, 228, 224))


def test_camera_frame_that_the_browser_cannot_encode_holds_up_no_other(webcam: Webcam, echo: Echo) -> None:
    webcam.page.evaluate(NO_MEMORY)
    webcam.click(".af-start")
    webcam.wait_error(re.compile("^The browser could not make a picture"))
    webcam.page.evaluate("window.noMemory = false")
    webcam.wait_shown(3)


def test_timeout_ends_the_session_until_the_person_goes_on(canvas: Canvas, echo: Echo) -> None:
    echo.say({"status": "timeout"})
    canvas.wait_state("timeout")
    expect(canvas.part(".af-status")).to_have_text(re.compile("^The time limit"))
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    canvas.wait_shown(1)
    assert len(echo.connections) == 2


def test_who_looks_away_for_long_gives_the_place_back_until_they_return(webcam: Webcam, echo: Echo) -> None:
    page = webcam.page
    webcam.set(strength=0.4)
    webcam.start()
    wait_until(page, lambda: echo.last_parameters().get("strength") == 0.4, "the parameters")
    page.evaluate("window[Symbol.for('artflow.hub')].views.realtime.awayAfter = 100")
    page.evaluate("document.querySelector('.af-webcam').style.display = 'none'")
    webcam.wait_state("closed")
    shown = webcam.shown()
    page.evaluate("document.querySelector('.af-webcam').style.display = ''")
    webcam.wait_state("open")
    webcam.wait_shown(shown + 3)
    assert len(echo.connections) == 2 and echo.last_parameters()["strength"] == 0.4


def test_timeout_stops_the_camera(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    echo.say({"status": "timeout"})
    webcam.wait_state("timeout")
    expect(webcam.part(".af-start")).to_have_text("Start")
    assert webcam.page.evaluate("document.querySelector('.af-webcam video').srcObject") is None


def test_refused_connection_is_not_tried_again(page: Page, echo: Echo, url: str) -> None:
    echo.refuse = True
    canvas = Canvas(page)
    canvas.open(url)
    canvas.wait_state("refused")
    expect(canvas.part(".af-status")).to_have_text(re.compile("^The server refused the connection"))
    page.wait_for_timeout(700)  # longer than the first retry would take
    assert len(echo.connections) == 1


def test_server_without_first_credits_gets_frames_too(webcam: Webcam, echo: Echo) -> None:
    echo.initial_credits = False
    webcam.start()
    webcam.wait_shown(8)


def test_one_place_means_one_frame_at_a_time(webcam: Webcam, echo: Echo) -> None:
    echo.max_in_flight, echo.delay = 1, 0.05  # the fixture fails the test on a second frame in flight
    webcam.start()
    webcam.wait_shown(10)
    assert not echo.dropped


def test_far_server_gets_several_frames_on_the_way(webcam: Webcam, echo: Echo) -> None:
    """A long way there and back, no work: latency must not limit the frames a second."""
    echo.distance = 1.0
    webcam.start()
    wait_until(webcam.page, lambda: echo.most_in_flight >= 3, "a full pipe")


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_pipelining_server_is_kept_supplied(webcam: Webcam, echo: Echo, delay: float) -> None:
    """It answers a frame only when the third one after it has come: waiting for the answer would be for ever."""
    echo.steps, echo.delay = 4, delay
    webcam.start()
    webcam.wait_shown(12)


def test_more_steps_in_the_middle_of_a_session(webcam: Webcam, echo: Echo) -> None:
    """The window has settled at few frames when the server suddenly needs eight on the way, and then two again."""
    echo.max_in_flight, echo.delay = 11, 0.03
    webcam.start()
    for steps in (1, 8, 2):
        echo.steps = steps
        webcam.wait_shown(echo.frames[-1].number + 10)
