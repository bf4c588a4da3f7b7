"""The webcam view in a real browser, with a fake camera that plays moving pictures."""

from __future__ import annotations

import base64
import io
import re
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Browser, expect

from artflow.metadata import read_metadata
from tests.support.browser import watch_errors
from tests.ui.driver import Webcam, near, wait_until
from tests.ui.echo_server import Echo


def test_camera_starts_and_the_result_follows_it(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    first = webcam.shown()
    webcam.wait_shown(first + 10)
    frames = list(echo.frames)
    assert frames[0].image().size == (512, 512)
    assert ImageChops.difference(frames[0].image(), frames[-1].image()).getbbox(), "the camera does not move"
    # The result is the inverse of a camera frame of some milliseconds ago, at a place that hardly changes.
    red, green, blue = webcam.source_pixel(0.5, 0.98)
    wait_until(
        webcam.page,
        lambda: near(webcam.result_pixel(0.5, 0.98), (255 - red, 255 - green, 255 - blue), 60),
        "the inverted camera picture",
    )


def test_frames_are_cropped_to_what_the_server_asks_for(webcam: Webcam, echo: Echo) -> None:
    echo.size = (384, 256)
    webcam.start()
    assert echo.frames[0].image().size == (384, 256)


def test_mirror_turns_what_is_sent_and_what_is_seen(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    expect(webcam.part("video")).to_have_class(re.compile("af-mirrored"))
    mirrored = echo.frames[-1]
    webcam.click(".af-mirror")
    expect(webcam.part(".af-mirror")).to_have_attribute("aria-pressed", "false")
    expect(webcam.part("video")).not_to_have_class(re.compile("af-mirrored"))
    webcam.wait_shown(webcam.shown() + 3)
    plain = echo.frames[-1]
    # The hue runs from left to right through the colour circle, so mirroring reverses its direction.
    assert _hue_direction(mirrored.image()) == -_hue_direction(plain.image()) != 0


def _hue_direction(image: Image.Image) -> int:
    row = [image.convert("HSV").getpixel((x, 5))[0] for x in range(40, 480, 40)]
    steps = [(b - a + 128) % 256 - 128 for a, b in pairwise(row)]
    return 1 if sum(steps) > 0 else -1


def test_stop_ends_camera_and_session(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    tracks = "() => document.querySelector('.af-webcam video').srcObject"
    assert webcam.page.evaluate(f"({tracks})() !== null")
    webcam.page.evaluate(f"window.track = ({tracks})().getVideoTracks()[0]")
    webcam.click(".af-start")
    webcam.wait_state("closed")
    assert webcam.page.evaluate("track.readyState") == "ended"
    wait_until(webcam.page, lambda: not echo.sockets, "the socket to close")
    expect(webcam.part(".af-start")).to_have_text("Start")


def test_parameters_set_before_the_start_come_with_the_first_message(webcam: Webcam, echo: Echo) -> None:
    webcam.set(strength=0.4, seed=5)
    webcam.start()
    first = {**echo.frames[0].header, **(echo.parameters_only[0] if echo.parameters_only else {})}
    assert first["strength"] == 0.4 and first["seed"] == 5
    assert first["prompt"] == "first light", "the value of the page's own control, handed over by `ready`"


def test_typing_a_prompt_changes_only_that_parameter(webcam: Webcam, echo: Echo) -> None:
    webcam.set(strength=0.4)
    webcam.start()
    count, alone = len(echo.frames), len(echo.parameters_only)
    webcam.page.locator("#webcam-prompt textarea").press_sequentially(", a blue fox")
    wait_until(webcam.page, lambda: echo.last_parameters().get("prompt") == "first light, a blue fox", "the prompt")
    later = [frame.header for frame in echo.frames[count:]] + echo.parameters_only[alone:]
    assert not any("strength" in header for header in later), "unchanged parameters were sent again"
    assert echo.last_parameters()["strength"] == 0.4


def test_parameters_go_alone_while_no_frame_goes(webcam: Webcam, echo: Echo) -> None:
    echo.delay = 60  # the frames on the way are never answered
    webcam.click(".af-start")
    wait_until(webcam.page, lambda: echo.frames, "a first frame")
    webcam.page.evaluate("document.querySelector('.af-webcam video').pause()")  # a camera that hangs
    webcam.set(guidance_scale=3)
    wait_until(webcam.page, lambda: echo.last_parameters().get("guidance_scale") == 3, "the parameter")


def test_hidden_tab_pauses_and_comes_back(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    page = webcam.page
    page.get_by_role("tab", name="Canvas").click()
    page.locator(".af-canvas").wait_for()
    settled: list[int] = []

    def quiet() -> bool:
        settled.append(sum(frame.mode == "realtime" for frame in echo.frames))
        return len(settled) > 25 and settled[-1] == settled[-25]  # half a second without a frame

    wait_until(page, quiet, "the camera to pause")
    assert webcam.page.locator(webcam.root).get_attribute("data-state") == "open"
    page.get_by_role("tab", name="Webcam").click()
    wait_until(page, lambda: sum(f.mode == "realtime" for f in echo.frames) > settled[-1], "frames again")


def test_removed_view_stops_camera_and_socket(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    page = webcam.page
    page.evaluate("window.track = document.querySelector('.af-webcam video').srcObject.getVideoTracks()[0]")
    page.evaluate("document.querySelector('.af-webcam').remove()")
    wait_until(page, lambda: page.evaluate("track.readyState") == "ended", "the camera to stop")
    wait_until(page, lambda: not echo.sockets, "the socket to close")


def test_slow_server_is_not_flooded(webcam: Webcam, echo: Echo) -> None:
    echo.delay = 0.15
    webcam.start()
    wait_until(webcam.page, lambda: len(echo.answered) > 25, "some answers")
    settled = echo.answered[12]
    drops, answers = (sum(number > settled for number in numbers) for numbers in (echo.dropped, echo.answered))
    assert drops < answers / 2, "a flooded server drops three frames for each that it answers"


def test_skipped_and_dropped_frames_keep_the_picture(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    echo.skip = True
    wait_until(webcam.page, lambda: len(echo.frames) - webcam.shown() > 5, "skipped frames")
    assert max(webcam.result_pixel(0.5, 0.9)) > 0
    expect(webcam.page.locator(webcam.root)).to_have_class(re.compile("af-has-result"))


def test_live_numbers(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    expect(webcam.part('[data-number="sessions"] b')).to_have_text("1")
    expect(webcam.part('[data-number="latency"] b')).to_have_text(re.compile(r"^\d+ / \d+ ms$"))
    expect(webcam.part('[data-number="stage"] b')).to_have_text("full")
    expect(webcam.part('[data-number="gpuMemory"] b')).to_have_text("2.0 GB")
    echo.gpu_memory_mb = None
    expect(webcam.part('[data-number="gpuMemory"]')).to_have_count(0)


def test_snapshot_is_the_picture_that_is_shown(webcam: Webcam) -> None:
    assert webcam.snapshot() is None
    webcam.start()
    webcam.click(".af-start")  # so that the picture stays, once what was on its way has been shown
    wait_until(webcam.page, lambda: (webcam.snapshot() or {}).get("frame") == webcam.shown(), "the last picture")
    snapshot = webcam.snapshot()
    assert snapshot and snapshot["frame"] == webcam.shown() and snapshot["seed"] == 7
    assert snapshot["recipe"]["prompt"] == "first light"
    image = Image.open(io.BytesIO(base64.b64decode(snapshot["image"].split(",")[1])))
    assert near(image.convert("RGB").getpixel((256, 460)), webcam.result_pixel(0.5, 460 / 512), 6)
    with webcam.page.expect_download() as download:
        webcam.click(".af-snapshot")
    assert re.fullmatch(r"artflow-7-\d{8}-\d{6}\.jpg", download.value.suggested_filename)
    found = read_metadata(Path(download.value.path()).read_bytes())
    assert found.source == "ArtFlow" and found.values["prompt"] == "first light"


def test_full_screen_shows_the_result_alone(webcam: Webcam) -> None:
    webcam.start()
    webcam.click(".af-fullscreen")
    webcam.page.wait_for_function("document.fullscreenElement?.classList.contains('af-result')")
    webcam.click(".af-fullscreen")
    webcam.page.wait_for_function("!document.fullscreenElement")


def test_cameras_can_be_chosen(webcam: Webcam) -> None:
    webcam.start()
    options = webcam.part(".af-cameras option")
    expect(options.first).not_to_have_text("Default camera")
    first = webcam.shown()
    webcam.part(".af-cameras").select_option(index=0)
    webcam.part(".af-cameras").dispatch_event("change")
    webcam.wait_shown(first + 5)


def _page_with(browser: Browser, url: str, script: str) -> Webcam:
    page = browser.new_context(locale="en-US").new_page()
    page.add_init_script(script)
    webcam = Webcam(page)
    webcam.open(url)
    return webcam


def test_blocked_camera_is_one_clear_sentence(browser: Browser, echo: Echo, url: str) -> None:
    refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }"
    webcam = _page_with(browser, url, refuse)
    errors = watch_errors(webcam.page)
    webcam.click(".af-start")
    webcam.wait_error("The camera is blocked. Allow it in the browser's address bar, then press Start again.")
    webcam.wait_state("closed")
    expect(webcam.part(".af-start")).to_have_text("Start")
    assert not errors
    webcam.page.context.close()


def test_page_without_cameras_says_why(browser: Browser, echo: Echo, url: str) -> None:
    webcam = _page_with(browser, url, "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    errors = watch_errors(webcam.page)
    webcam.click(".af-start")
    webcam.wait_error(re.compile("https or on localhost"))
    assert not echo.connections and not errors
    webcam.page.context.close()


# --- other models than before -----------------------------------------------------------------------------


def test_frames_follow_the_size_of_another_model(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    echo.say({"status": "model", "models": ["painter"], "width": 384, "height": 256, "strength": 1.0, "steps": 1})
    wait_until(webcam.page, lambda: echo.frames[-1].image().size == (384, 256), "frames of the new size")
    expect(webcam.part("[data-number=size]")).to_contain_text("384 × 256")


def test_what_the_server_sets_is_not_sent_back(webcam: Webcam, echo: Echo) -> None:
    webcam.set(strength=0.4)
    webcam.start()
    wait_until(webcam.page, lambda: echo.last_parameters().get("strength") == 0.4, "the strength")
    echo.say({"status": "model", "models": ["painter"], "width": 512, "height": 512, "strength": 1.0, "steps": 1})
    webcam.page.wait_for_function("() => artflow.values('realtime', ['strength'])[0] === 1")
    webcam.set(strength=1, steps=1)  # as the page's controls do when they show it
    webcam.set(seed=3)
    wait_until(webcam.page, lambda: echo.last_parameters().get("seed") == 3, "the seed")
    assert echo.last_parameters()["strength"] == 0.4 and "steps" not in echo.last_parameters()
    webcam.set(strength=0.7)
    wait_until(webcam.page, lambda: echo.last_parameters()["strength"] == 0.7, "the person's own change")


def test_the_old_model_goes_on_while_another_is_loaded(webcam: Webcam, echo: Echo) -> None:
    webcam.start()
    echo.say({"status": "switching", "message": "Loading SD-Turbo", "progress": 0.4})
    expect(webcam.part(".af-status")).to_have_text("Loading SD-Turbo, 40 %")
    webcam.wait_shown(webcam.shown() + 3)
    expect(webcam.part(".af-status")).to_have_text("Live")  # no news of the load any more
