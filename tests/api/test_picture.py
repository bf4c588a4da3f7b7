"""Files that browsers do not show, made into PNGs for the live views."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.api.client import PAGE, Served, serve
from tests.corpus.pictures import BLOCK_OF_P3, CASES


@pytest.mark.parametrize("prefix", ["", PAGE])
def test_a_heic_of_a_phone_is_a_png_in_srgb(server: Served, prefix: str) -> None:
    answer = server.http.post(f"{prefix}/api/picture", content=CASES["p3.heic"]().data)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    image = Image.open(io.BytesIO(answer.content))
    assert image.format == "PNG" and "icc_profile" not in image.info
    assert np.abs(np.subtract(image.getpixel((4, 4)), BLOCK_OF_P3)).max() <= 4


def test_what_cannot_be_read_is_said(server: Served) -> None:
    answer = server.http.post("/api/picture", content=b"a text")
    assert answer.status_code == 422 and answer.json()["code"] == "bad_picture"
    foreign = {"origin": "https://evil.example"}
    answer = server.http.post("/api/picture", content=CASES["plain.heic"]().data, headers=foreign)
    assert answer.json()["code"] == "foreign_page"


def test_a_file_is_not_read_further_than_allowed() -> None:
    with serve(ARTFLOW_SERVER__MAX_FILE_BYTES="1000") as server:
        answer = server.http.post("/api/picture", content=iter([b"x" * 900, b"x" * 900]))
        assert answer.json() == {
            "status": "error", "code": "picture_too_large", "message": "The file has over 1000 bytes."
        }  # fmt: skip
