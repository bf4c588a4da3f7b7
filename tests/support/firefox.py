"""Debian's Firefox, driven over WebDriver BiDi, which it speaks by itself; Playwright's own Firefox is another one."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

FIREFOX = "firefox-esr"
ALLOWED = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
}  # a camera, without asking


class FirefoxPage:
    """A tab that is navigated and evaluates expressions."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self._ask("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def goto(self, url: str) -> None:
        """Open an address, and return when it has been loaded."""
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited, as JSON can tell it; as if the person had just done something."""
        told = self._ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._tab},
            awaitPromise=True,
            userActivation=True,
        )
        assert told["type"] == "success", told["exceptionDetails"]["text"]
        return json.loads(told["result"].get("value", "null"))

    def picture_of(self, selector: str) -> bytes:
        """A PNG of an element as it is shown."""
        there = self._ask("script.evaluate", expression=f"document.querySelector({json.dumps(selector)})",
                          target={"context": self._tab}, awaitPromise=False)  # fmt: skip
        clip = {"type": "element", "element": {"sharedId": there["result"]["sharedId"]}}
        shot = self._ask("browsingContext.captureScreenshot", context=self._tab, origin="document", clip=clip)
        return base64.b64decode(shot["data"])

    def wait_for(self, expression: str, seconds: float = 60) -> Any:
        """The value of an expression once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"waited in vain for {expression}"
            time.sleep(0.1)
        return value

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv(120))).get("id") != number:
            pass  # events
        assert answer["type"] == "success", answer
        return answer["result"]


@contextlib.contextmanager
def firefox(**preferences: Any) -> Iterator[FirefoxPage]:
    """A fresh headless Firefox with these preferences, and its tab."""
    with tempfile.TemporaryDirectory(prefix="artflow-firefox-", ignore_cleanup_errors=True) as name:
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in preferences.items()]
        (Path(name) / "user.js").write_text("\n".join(lines))
        command = [FIREFOX, "--headless", "--no-remote", "--profile", name, "--remote-debugging-port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            address = next(line.split()[-1] for line in process.stderr if "WebDriver BiDi listening on" in line)
            with connect(f"{address}/session", max_size=None, open_timeout=60) as socket:
                yield FirefoxPage(socket)
        finally:
            process.kill()
            process.wait()
