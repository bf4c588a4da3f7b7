"""The page, its results and its live views through a real nginx, at whatever address a browser finds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from artflow.pipeline import Pipeline
from artflow.ui.app import build
from tests.support.browser import watch_errors
from tests.support.nginx import SOCKETS, nginx

LONG = 120_000
README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
(RECOMMENDED,) = re.findall(r"```nginx\n(.*?)```", README, re.DOTALL)


class Way(NamedTuple):
    """How nginx is set up, and where it is looked for."""

    location: str
    address: str
    tls: bool = False
    root_path: str = ""  # what the app is told


WAYS = {
    "as it comes": Way(f"location / {{ proxy_pass http://127.0.0.1:7860; {SOCKETS} }}", "http://127.0.0.1:{port}/"),
    "tls": Way(
        f"location / {{ proxy_pass http://127.0.0.1:7860; proxy_set_header Host $host; {SOCKETS} }}",
        "https://127.0.0.1:{port}/",
        tls=True,
    ),
    "in a folder": Way(
        f"location /art/ {{ proxy_pass http://127.0.0.1:7860/; {SOCKETS} }}", "http://127.0.0.1:{port}/art/"
    ),
    "in a folder that the app knows": Way(
        f"location /art/ {{ proxy_pass http://127.0.0.1:7860; {SOCKETS} }}",
        "http://127.0.0.1:{port}/art/",
        root_path="/art",
    ),
    "as the README says": Way(RECOMMENDED, "https://art.example:{port}/", tls=True),
}
NAMED = WAYS["as it comes"]._replace(address="http://art.example:{port}/")


class Visit:
    """Somebody who opens the page through nginx; notes what leaves its address."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.elsewhere: list[str] = []
        self.sockets: list[str] = []
        page.set_default_timeout(LONG)
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda socket: self.sockets.append(socket.url))
        page.goto(address)

    def _note(self, url: str) -> None:
        known = (self.address, "data:", "blob:")
        if not url.startswith(known) and not url.endswith("/manifest.json"):  # which Gradio asks for at the top
            self.elsewhere.append(url)

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def make(self) -> str:
        """Make a picture in the text tab; the address of its file."""
        self.tab("Text")
        self.page.locator("#artflow-text-prompt textarea").fill("a red apple on a blue background")
        self.page.click("#artflow-generate")
        picture = self.page.locator("#artflow-text-gallery img").first
        picture.wait_for()
        expect(picture).to_have_js_property("naturalWidth", 128)
        return picture.get_attribute("src") or ""


@pytest.fixture
def visit(request: pytest.FixtureRequest, browser: Browser, pipeline: Pipeline) -> Iterator[Visit]:
    """The page, opened in one of the ways."""
    way: Way = request.param
    demo = build(pipeline)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, root_path=way.root_path)
    upstream = re.sub(r"https?://|/$", "", url)
    with nginx(way.location.replace("127.0.0.1:7860", upstream), tls=way.tls) as port:
        context = browser.new_context(ignore_https_errors=True, locale="en-US")
        page = context.new_page()
        errors = watch_errors(page)
        yield Visit(page, way.address.format(port=port))
        context.close()
        assert not errors
    demo.close()


each_way = pytest.mark.parametrize("visit", WAYS.values(), ids=WAYS, indirect=True)

CHANGES = """(selector) => new Promise((done) => {
  const element = document.querySelector(selector);
  const canvas = Object.assign(document.createElement("canvas"), {width: 16, height: 16});
  const look = () => {
    canvas.getContext("2d").drawImage(element, 0, 0, 16, 16);
    return canvas.toDataURL();
  };
  const seen = new Set();
  const timer = setInterval(() => {
    seen.add(look());
    if (seen.size < 4) return;
    clearInterval(timer);
    done(true);
  }, 50);
})"""  # resolves once an element has shown several pictures


@each_way
def test_the_page_its_live_pictures_their_stream_and_its_results(visit: Visit) -> None:
    page = visit.page
    page.click(".af-webcam .af-start")
    page.wait_for_function("Number(document.querySelector('.af-webcam').dataset.shown) > 0")
    page.evaluate(CHANGES, ".af-webcam .af-result .af-picture")
    stream = visit.sockets[-1].replace("/ws/", "/stream/").replace("ws", "http", 1).split("?")[0]
    page.evaluate("(src) => document.body.append(Object.assign(new Image(), {src, id: 'stream'}))", stream)
    page.wait_for_function("document.querySelector('#stream').naturalWidth > 0")
    page.evaluate(CHANGES, "#stream")
    made = visit.make()
    assert made.startswith(visit.address + "gradio_api/file=")
    assert page.evaluate("async (url) => (await fetch(url)).status", made) == 200
    assert visit.sockets and all(url.startswith(visit.address.replace("http", "ws")) for url in visit.sockets)
    assert not visit.elsewhere


@pytest.mark.parametrize("visit", [NAMED], ids=["by a name"], indirect=True)
def test_by_a_name_of_which_nginx_says_nothing_the_live_views_say_what_to_set(visit: Visit) -> None:
    """The app cannot tell it from a page elsewhere that asks for a program on its visitor's machine."""
    origin = visit.address.rstrip("/")
    visit.tab("Canvas")
    expect(visit.page.locator(".af-canvas .af-error")).to_have_text(
        f"""Pages of {origin} may not connect; ARTFLOW_SERVER__ORIGINS='["{origin}"]' allows them."""
    )
    assert visit.make().startswith(visit.address)
    assert not visit.elsewhere
