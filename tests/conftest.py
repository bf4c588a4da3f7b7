"""Fixtures of all tests: the one browser of the session (two could not share its event loop); and no Hub.

What a machine can reach or has downloaded before must change no result, so nothing is asked of the real Hub.
"""

import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share the cores; threads that wait for each other are slow
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # where nobody answers; read when huggingface_hub is imported
_home = tempfile.TemporaryDirectory(prefix="artflow-hub-")
os.environ["HF_HOME"] = _home.name

from tests.support.browser import browser, camera_video, page  # noqa: E402, F401

SLOW = {"e2e", "ui", "parity", "training"}  # folders whose tests need a browser, or compare at length


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is left out by ``pytest -m 'not slow'``: minutes of browsers and comparisons."""
    folder = Path(__file__).parent
    for item in items:
        if SLOW & set(item.path.relative_to(folder).parts):
            item.add_marker(pytest.mark.slow)
