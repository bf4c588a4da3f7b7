"""The whole app on a real port, over a tiny model: once for all tests of the routes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.api.client import Served, serve


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are slower on many threads than on one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Served]:
    """One server for every test that changes nothing about it."""
    with serve() as served:
        yield served


@pytest.fixture
def server(shared_server: Served) -> Iterator[Served]:
    """That server; the test fails if it leaves a session behind for longer than 5 seconds."""
    yield shared_server
    shared_server.send_everybody_home()
    shared_server.wait_until_free()
