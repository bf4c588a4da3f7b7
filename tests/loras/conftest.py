"""A local server that stands for the operator's own Hub: the one place that may be asked without https."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from tests.support.lora_server import FileServer, lora


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer({"/a.safetensors": lora(rank=16), "/b.safetensors": lora(rank=16)}) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        yield running
