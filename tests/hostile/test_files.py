"""A picture that a client names is one that was uploaded: no other file of the server is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artflow.images import as_png
from tests.hostile.conftest import App, Page

FILE = {"_type": "gradio.FileData"}


def answer(page: Page, endpoint: str, *values: Any) -> str:
    """The last event of a call."""
    called = page.http.post(f"/call/{endpoint}", json={"data": list(values)}).json()
    return page.http.get(f"/call/{endpoint}/{called['event_id']}").text


@pytest.fixture
def private(request: pytest.FixtureRequest) -> Path:
    """A picture of the server's that nobody has uploaded."""
    path = Path(__file__).parent / "private.png"
    path.write_bytes(as_png(np.zeros((16, 16, 3), np.uint8)))
    request.addfinalizer(path.unlink)
    return path


@pytest.mark.parametrize(
    "about",
    [{"meta": FILE}, {}, {"meta": {}}, {"meta": {"_type": "another"}}, {"meta": FILE, "is_stream": True}],
    ids=str,
)
def test_a_file_that_was_not_uploaded_is_not_opened(app: App, private: Path, about: dict[str, Any]) -> None:
    with app.page() as page:
        said = answer(page, "filter", {"path": str(private), **about}, [])
        assert "event: error" in said and "Done" not in said, said
