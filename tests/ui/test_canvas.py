"""The canvas view in a real browser: what is drawn, undone, layered and sent, judged by pixels."""

from __future__ import annotations

import base64
import io
import re

from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.driver import Canvas, near, wait_until
from tests.ui.echo_server import Echo

WHITE, BLACK = (255, 255, 255), (27, 27, 31)
RED, BLUE, GREEN = (229, 72, 77), (62, 123, 250), (70, 167, 88)
RED_KEY, BLUE_KEY, GREEN_KEY = "#e5484d", "#3e7bfa", "#46a758"


def inverse(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    return (255 - colour[0], 255 - colour[1], 255 - colour[2])


def png(colour: tuple[int, int, int] | str, size: tuple[int, int] = (300, 200)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def data_url(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


# --- strokes and answers --------------------------------------------------------------------------------


def test_the_colour_of_a_stroke_shows_up_in_the_result(canvas: Canvas, echo: Echo) -> None:
    canvas.colour(RED_KEY)
    canvas.brush_size(40)
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    canvas.wait_paper(0.5, 0.5, RED)
    canvas.wait_result(0.5, 0.5, inverse(RED))
    canvas.wait_result(0.5, 0.1, inverse(WHITE))


def test_the_picture_follows_while_the_stroke_is_drawn(canvas: Canvas, echo: Echo) -> None:
    canvas.brush_size(40)
    canvas.stroke((0.2, 0.5), (0.5, 0.5), (0.8, 0.5), release=False)
    canvas.wait_result(0.5, 0.5, inverse(BLACK))
    canvas.page.mouse.up()


def test_a_tap_leaves_a_dot(canvas: Canvas) -> None:
    canvas.brush_size(40)
    canvas.stroke((0.3, 0.3))
    canvas.wait_paper(0.3, 0.3, BLACK)
    canvas.wait_result(0.3, 0.3, inverse(BLACK))


def test_the_last_state_of_a_stroke_is_the_last_answered(canvas: Canvas, echo: Echo) -> None:
    echo.delay = 0.25  # slower than the hand
    canvas.brush_size(40)
    canvas.stroke((0.1, 0.5), (0.4, 0.5), (0.9, 0.9))
    canvas.wait_result(0.9, 0.9, inverse(BLACK))
    wait_until(canvas.page, lambda: len(echo.answered) == len(echo.frames), "all answers")
    assert near(echo.frames[-1].image().getpixel((460, 460)), BLACK)
    assert canvas.shown() == echo.frames[-1].number


def test_every_stroke_is_answered_in_order_by_a_slow_server(page: Page, echo: Echo, url: str) -> None:
    echo.delay, echo.max_in_flight = 0.4, 2
    canvas = Canvas(page)
    canvas.open(url)
    canvas.wait_state("open")
    canvas.brush_size(30)
    places = [(0.1 + 0.16 * i, 0.5) for i in range(6)]
    for x, y in places:
        canvas.stroke((x, y), (x, y + 0.1))
    waiting = canvas.part(".af-waiting")
    expect(waiting).to_be_visible()
    expect(waiting).to_have_text(re.compile(r"^\d strokes wait$"))
    wait_until(canvas.page, lambda: near(canvas.result_pixel(*places[-1]), inverse(BLACK)), "all")
    expect(waiting).to_be_hidden()
    assert echo.answered == sorted(echo.answered) and len(echo.answered) == len(echo.frames)
    # Each stroke was answered in a state of its own: with it, and before there was the next one.
    seen = [sum(near(frame.image().getpixel((int(512 * x), 280)), BLACK) for x, _ in places) for frame in echo.frames]
    assert seen == sorted(seen) and set(range(1, 7)) <= set(seen)


def test_no_message_while_nothing_happens(canvas: Canvas, echo: Echo) -> None:
    wait_until(canvas.page, lambda: echo.parameters_only, "the first parameters")
    canvas.page.wait_for_timeout(400)  # nothing to wait for: it is the absence that counts
    assert echo.frames == [] and echo.parameters_only == [{"prompt": "first light"}]


def test_a_new_prompt_renders_the_same_drawing_again(canvas: Canvas, echo: Echo) -> None:
    canvas.stroke((0.2, 0.2), (0.8, 0.8))
    wait_until(canvas.page, lambda: echo.frames and len(echo.answered) == len(echo.frames), "the stroke")
    before, alone = len(echo.frames), len(echo.parameters_only)
    canvas.page.locator("#canvas-prompt textarea").press_sequentially("!")
    wait_until(canvas.page, lambda: len(echo.frames) > before, "the drawing once more")
    wait_until(canvas.page, lambda: echo.last_parameters()["prompt"] == "first light!", "the prompt")
    echo.delay = 0.5  # also while it waits for its turn, a parameter does not come alone and then once more
    for seed in range(8):
        canvas.set(seed=seed)
        canvas.page.wait_for_timeout(100)  # the pace of somebody who drags a slider
    wait_until(canvas.page, lambda: echo.last_parameters().get("seed") == 7, "the last seed")
    assert len(echo.parameters_only) == alone


# --- undo, redo, eraser, clear --------------------------------------------------------------------------


def test_undo_and_redo(canvas: Canvas, echo: Echo) -> None:
    canvas.brush_size(40)
    expect(canvas.part(".af-undo")).to_be_disabled()
    canvas.stroke((0.1, 0.2), (0.9, 0.2))
    canvas.stroke((0.1, 0.6), (0.9, 0.6))
    canvas.wait_paper(0.5, 0.6, BLACK)
    canvas.click(".af-undo")
    canvas.wait_paper(0.5, 0.6, WHITE)
    canvas.wait_paper(0.5, 0.2, BLACK)
    canvas.wait_result(0.5, 0.6, inverse(WHITE))
    canvas.click(".af-undo")
    canvas.wait_paper(0.5, 0.2, WHITE)
    expect(canvas.part(".af-undo")).to_be_disabled()
    canvas.click(".af-redo")
    canvas.click(".af-redo")
    canvas.wait_paper(0.5, 0.6, BLACK)
    canvas.wait_result(0.5, 0.6, inverse(BLACK))
    expect(canvas.part(".af-redo")).to_be_disabled()


def test_undo_restores_every_pixel(canvas: Canvas) -> None:
    canvas.colour(RED_KEY)
    canvas.stroke((0.1, 0.1), (0.7, 0.8), (0.3, 0.4))
    pixels = "document.querySelector('.af-paper').toDataURL()"
    canvas.wait_paper(0.3, 0.4, RED)
    canvas.page.wait_for_timeout(300)  # the stroke's end is painted with the next animation frame
    before = canvas.page.evaluate(pixels)
    canvas.colour(BLUE_KEY)
    canvas.brush_size(90)
    canvas.stroke((0.02, 0.5), (0.5, 0.3), (1.1, 1.1))  # starts at one edge, leaves over two
    canvas.wait_paper(0.5, 0.35, BLUE)
    canvas.click(".af-undo")
    wait_until(canvas.page, lambda: canvas.page.evaluate(pixels) == before, "the same pixels as before")


def test_undo_memory_is_bounded(canvas: Canvas) -> None:
    for index in range(43):
        canvas.stroke((0.02 + index * 0.02, 0.1))
    undo = canvas.part(".af-undo")
    steps = 0
    while undo.is_enabled():
        undo.click()
        steps += 1
    assert steps == 40


def test_eraser_uncovers_the_paper(canvas: Canvas) -> None:
    canvas.page.evaluate("(url) => artflow.loadPicture('canvas', url)", data_url(png(GREEN)))
    canvas.wait_paper(0.5, 0.5, GREEN)
    canvas.brush_size(60)
    canvas.stroke((0.1, 0.5), (0.9, 0.5))
    canvas.wait_paper(0.5, 0.5, BLACK)
    canvas.click(".af-eraser")
    canvas.stroke((0.5, 0.1), (0.5, 0.9))
    canvas.wait_paper(0.5, 0.5, GREEN)
    canvas.wait_paper(0.2, 0.5, BLACK)


def test_clear_can_be_undone(canvas: Canvas) -> None:
    canvas.page.evaluate("(url) => artflow.loadPicture('canvas', url)", data_url(png(GREEN)))
    canvas.wait_paper(0.5, 0.1, GREEN)
    canvas.brush_size(40)
    canvas.stroke((0.1, 0.5), (0.9, 0.5))
    canvas.click(".af-clear")
    canvas.wait_paper(0.5, 0.5, WHITE)
    canvas.wait_paper(0.5, 0.1, WHITE)
    canvas.click(".af-undo")
    canvas.wait_paper(0.5, 0.5, BLACK)
    canvas.wait_paper(0.5, 0.1, GREEN)


# --- layers ---------------------------------------------------------------------------------------------


def test_layers_add_choose_hide_move_and_delete(canvas: Canvas) -> None:
    canvas.brush_size(60)
    for key in (RED_KEY, GREEN_KEY, BLUE_KEY):  # one above the other, each on a layer of its own
        if key != RED_KEY:
            canvas.click(".af-layer-add")
        canvas.colour(key)
        canvas.stroke((0.2, 0.5), (0.8, 0.5))
    expect(canvas.part(".af-layer")).to_have_count(3)
    canvas.wait_paper(0.5, 0.5, BLUE)

    canvas.click('[data-layer="3"] .af-layer-toggle')
    canvas.wait_paper(0.5, 0.5, GREEN)
    canvas.wait_result(0.5, 0.5, inverse(GREEN))

    canvas.click('[data-layer="1"] .af-layer-choose')
    canvas.click('[data-layer="1"] .af-layer-up')
    canvas.wait_paper(0.5, 0.5, RED)
    canvas.click('[data-layer="1"] .af-layer-remove')
    expect(canvas.part(".af-layer")).to_have_count(2)
    canvas.wait_paper(0.5, 0.5, GREEN)

    for colour in (RED, GREEN, BLUE):  # deleted, moved, hidden: taken back in this order
        canvas.click(".af-undo")
        canvas.wait_paper(0.5, 0.5, colour)


def test_the_eraser_keeps_to_its_layer(canvas: Canvas) -> None:
    canvas.brush_size(60)
    canvas.colour(RED_KEY)
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    canvas.click(".af-layer-add")
    canvas.colour(BLUE_KEY)
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    canvas.click(".af-eraser")
    canvas.stroke((0.4, 0.5), (0.6, 0.5))
    canvas.wait_paper(0.5, 0.5, RED)


def test_a_hidden_layer_is_not_drawn_on(canvas: Canvas) -> None:
    canvas.click('[data-layer="1"] .af-layer-toggle')
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    canvas.wait_error("This layer is hidden. Show it to draw on it.")


# --- pictures as paper ----------------------------------------------------------------------------------


def test_a_file_becomes_paper_cropped_to_its_centre(canvas: Canvas, tmp_path) -> None:
    image = Image.new("RGB", (800, 400), "black")
    image.paste(RED, (200, 0, 600, 400))  # the middle square
    image.save(tmp_path / "picture.png")
    canvas.part(".af-file").set_input_files(tmp_path / "picture.png")
    for x in (0.03, 0.5, 0.97):
        canvas.wait_paper(x, 0.5, RED)
    canvas.wait_result(0.5, 0.5, inverse(RED))


def test_a_picture_can_be_dropped_and_pasted(canvas: Canvas) -> None:
    canvas.give("drop", data_url(png(GREEN)))
    canvas.wait_paper(0.5, 0.5, GREEN)
    canvas.part(".af-paper").hover()
    canvas.give("paste", data_url(png(BLUE)))
    canvas.wait_paper(0.5, 0.5, BLUE)


def test_a_file_that_is_no_picture_is_one_clear_sentence(canvas: Canvas, tmp_path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    canvas.part(".af-file").set_input_files(tmp_path / "notes.png")
    canvas.wait_error(re.compile("^This is not a picture that the browser can open"))


def test_the_result_becomes_paper(canvas: Canvas) -> None:
    canvas.brush_size(40)
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    canvas.wait_result(0.5, 0.5, inverse(BLACK))
    canvas.click(".af-use-result")
    canvas.wait_paper(0.5, 0.5, inverse(BLACK))
    canvas.wait_paper(0.5, 0.1, inverse(WHITE))
    canvas.click(".af-undo")
    canvas.wait_paper(0.5, 0.5, BLACK)
    canvas.wait_paper(0.5, 0.1, WHITE)


def test_a_picture_sent_before_the_canvas_was_opened_waits_for_it(page: Page, echo: Echo, url: str) -> None:
    page.goto(url)
    page.locator(".af-webcam").wait_for()
    page.evaluate("(url) => artflow.loadPicture('canvas', url)", data_url(png(GREEN)))
    page.get_by_role("tab", name="Canvas").click()
    canvas = Canvas(page)
    canvas.part(".af-paper").wait_for()
    canvas.wait_paper(0.5, 0.5, GREEN)
    canvas.wait_result(0.5, 0.5, inverse(GREEN))


# --- pen, finger, keyboard ------------------------------------------------------------------------------


def test_pen_pressure_changes_the_width(canvas: Canvas) -> None:
    canvas.brush_size(40)
    for y, pressure in ((0.3, 0.1), (0.7, 1.0)):
        canvas.pen("pointerdown", 0.2, y, pressure=pressure)
        canvas.pen("pointermove", 0.5, y, pressure=pressure)
        canvas.pen("pointermove", 0.8, y, pressure=pressure)
        canvas.pen("pointerup", 0.8, y, pressure=0)
    canvas.wait_paper(0.4, 0.7 + 25 / 512, BLACK)  # pressed hard: wider than the plain brush
    assert canvas.paper_pixel(0.4, 0.3) != WHITE
    assert near(canvas.paper_pixel(0.4, 0.3 + 10 / 512), WHITE), "a light touch must be thin"


def test_a_finger_draws_and_does_not_scroll(canvas: Canvas) -> None:
    touch_action = "getComputedStyle(document.querySelector('.af-paper')).touchAction"
    assert canvas.page.evaluate(touch_action) == "none"
    canvas.brush_size(40)
    canvas.pen("pointerdown", 0.2, 0.5, pointer="touch", pressure=0)
    canvas.pen("pointermove", 0.8, 0.5, pointer="touch", pressure=0)
    canvas.pen("pointercancel", 0.8, 0.5, pointer="touch", pressure=0)
    canvas.wait_result(0.6, 0.5, inverse(BLACK))


def test_keyboard_works_over_the_canvas_only(canvas: Canvas) -> None:
    page = canvas.page
    canvas.brush_size(40)
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    page.keyboard.press("Control+z")
    canvas.wait_paper(0.5, 0.5, WHITE)
    page.keyboard.press("Control+Shift+Z")
    canvas.wait_paper(0.5, 0.5, BLACK)
    page.keyboard.press("e")
    expect(canvas.part(".af-eraser")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("b")
    page.keyboard.press("]")
    expect(canvas.part(".af-size-value")).to_have_text("50")
    page.keyboard.press("[")
    expect(canvas.part(".af-size-value")).to_have_text("40")

    prompt = page.locator("#canvas-prompt textarea")
    prompt.click()
    canvas.part(".af-paper").hover()  # the mouse may rest there while somebody types
    prompt.press_sequentially("bee]")
    prompt.press("Control+z")
    expect(canvas.part(".af-brush")).to_have_attribute("aria-pressed", "true")
    expect(canvas.part(".af-size-value")).to_have_text("40")
    assert near(canvas.paper_pixel(0.5, 0.5), BLACK), "undo in the prompt took a stroke back"


def test_the_drawing_is_sent_in_the_size_of_the_server_and_stays_sharp(page: Page, echo: Echo, url: str) -> None:
    echo.size = (128, 96)
    canvas = Canvas(page)
    canvas.open(url)
    canvas.wait_state("open")
    canvas.stroke((0.2, 0.5), (0.8, 0.5))
    wait_until(page, lambda: echo.frames, "a frame")
    assert echo.frames[0].image().size == (128, 96)
    paper = page.evaluate("[document.querySelector('.af-paper').width, document.querySelector('.af-paper').height]")
    assert paper == [512, 384]


def test_a_palm_on_the_screen_neither_draws_nor_ends_the_pens_stroke(canvas: Canvas) -> None:
    canvas.pen("pointerdown", 0.2, 0.5)
    canvas.pen("pointerdown", 0.8, 0.9, pointer="touch", number=9)
    canvas.pen("pointermove", 0.8, 0.8, pointer="touch", number=9)
    canvas.pen("pointerup", 0.8, 0.8, pointer="touch", number=9)
    canvas.pen("pointermove", 0.6, 0.5)
    canvas.pen("pointerup", 0.6, 0.5)
    canvas.wait_paper(0.5, 0.5, BLACK)
    assert near(canvas.paper_pixel(0.8, 0.85), WHITE)
