"""The routes of Painter's styles: the table, what a prompt names, and a picture in all of them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from artflow.api.framing import unpack
from artflow.models.catalog import ROOT, Catalog, load_catalog
from artflow.prompts.styles import styles
from tests.api.client import PAGE, Served, jpeg, serve, tiny_catalog

PAINTER = ROOT / "artflow/models/painter"
SHEET = "/api/painter/thumbnails"


@pytest.fixture(scope="module")
def painting() -> Iterator[Served]:
    """An app whose model leaves styles to the painter that ships."""
    tiny, _ = tiny_catalog().models
    own = tiny.model_copy(update={"styles_by": "painter"})
    with serve(catalog=Catalog(models=[own, load_catalog().get("painter")])) as served:
        yield served


@pytest.mark.parametrize("prefix", ["", PAGE])
def test_the_table_has_every_style_with_its_names(server: Served, prefix: str) -> None:
    table = server.http.get(f"{prefix}/api/painter/styles").json()
    assert [style["id"] for style in table["styles"]] == [style.id for style in styles().styles]
    first = table["styles"][0]
    assert (table["default"], first["id"], first["names"]["zh-Hant"]) == ("van-gogh", "van-gogh", "梵谷")
    assert "starry night" in first["words"]


def test_a_prompt_names_styles_and_has_a_rest(server: Served) -> None:
    answer = server.http.get("/api/painter/named", params={"prompt": "a lion, (梵高:3), mosaic"}).json()
    assert answer == {"styles": {"van-gogh": 0.75, "mosaic": 0.25}, "rest": "a lion"}
    long = server.http.get("/api/painter/named", params={"prompt": "x" * 5000})
    assert long.status_code == 422 and long.json()["code"] == "prompt_too_long"


def test_a_picture_comes_back_in_every_style(painting: Served) -> None:
    answer = painting.http.post(SHEET, content=jpeg(200, 60, 30))
    about, sheet = unpack(answer.content)
    shipped = {path.stem for path in (PAINTER / "styles").glob("*.safetensors")}
    assert about["styles"] == [style.id for style in styles().styles if style.id in shipped]
    pixels = np.asarray(Image.open(io.BytesIO(sheet)))
    side, columns = about["side"], about["columns"]
    assert pixels.shape == (-(-len(about["styles"]) // columns) * side, columns * side, 3)
    tiles = [
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side].astype(float).mean((0, 1))
        for row, column in (divmod(number, columns) for number in range(len(about["styles"])))
    ]
    assert len({tuple(tile.round(-1)) for tile in tiles}) > 10, "the styles look alike"


def test_who_has_no_picture_gets_a_sample(painting: Served) -> None:
    first, again = (painting.http.get(SHEET).content for _ in range(2))
    assert unpack(first)[0]["styles"] and first == again


def test_what_is_too_large_or_no_picture_is_said(painting: Served) -> None:
    for data, code in ((b"a text", "bad_picture"), (b"x" * 200_000, "picture_too_large")):
        answer = painting.http.post(SHEET, content=data)
        assert answer.status_code == 422 and answer.json()["code"] == code
    large = io.BytesIO()
    Image.new("RGB", (400, 400)).save(large, "JPEG")
    assert painting.http.post(SHEET, content=large.getvalue()).json()["code"] == "picture_too_large"


def test_foreign_pages_are_refused(painting: Served) -> None:
    answer = painting.http.post(SHEET, content=jpeg(0, 0, 0), headers={"origin": "https://evil.example"})
    assert answer.json()["code"] == "foreign_page"


def test_an_app_without_a_painter_says_so(server: Served) -> None:
    assert server.http.get(SHEET).json()["code"] == "no_painter"
