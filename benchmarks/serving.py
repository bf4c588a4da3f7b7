"""The app's routes on a port of this machine, with the model that it starts with, for clients in other processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from artflow.api.routes import app_kwargs
from artflow.pipeline import Pipeline
from artflow.settings import load_settings


@contextmanager
def served(**environ: str) -> Iterator[tuple[Pipeline, int]]:
    """The pipeline of a running app, loaded, and its port; ``environ`` holds settings as the environment does."""
    pipeline = Pipeline(load_settings(environ=environ))
    app = FastAPI(**app_kwargs(pipeline))
    app.cookie_id, app.tokens = "benchmark", {}  # type: ignore[attr-defined]  # what Gradio's app class has
    # With the protocol named asyncio sends small messages at once (TCP_NODELAY), as it does for Gradio's socket.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    pipeline.load().info.result()
    while not server.started:
        time.sleep(0.01)
    try:
        yield pipeline, listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        pipeline.close()


@contextmanager
def program(code: str) -> Iterator[None]:
    """Another Python program beside this one, from when it prints its first line; it knows nothing of our settings."""
    environ = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environ)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
