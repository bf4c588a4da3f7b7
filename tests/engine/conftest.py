"""One model for all engine tests, and a fresh engine for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from artflow.engine.engine import Engine
from artflow.engine.runner import Runner
from tests.support.models import tiny_runner


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are slower on many threads than on one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def runner() -> Runner:
    """A tiny model, LCM schedule, epsilon, AutoencoderTiny; the default prompts are encoded already."""
    runner = tiny_runner()
    for negative in (False, True):
        runner.conditions.encode("", negative=negative)
    return runner


@pytest.fixture
def engine() -> Iterator[Engine]:
    """An engine of the test's own."""
    engine = Engine()
    yield engine
    engine.close()
