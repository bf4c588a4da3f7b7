"""Every endpoint does what its own description says, and a mistake is answered with a sentence and no traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from artflow.metadata import encode_png

ENDPOINTS = ("text", "inpaint", "remove", "outpaint", "upscale", "filter", "interrogate", "read_back")
QUICK = {"prompt": "a red apple", "steps": 1, "width": 64, "height": 64, "right": 8}
ELSEWHERE = ("/", "stabilityai", "SimianLuo")  # models that would be downloaded


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A picture with its recipe, and a mask over its left half."""
    folder = tmp_path_factory.mktemp("files")
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    paths = {"picture": folder / "picture.png", "mask": folder / "mask.png"}
    paths["picture"].write_bytes(encode_png(noise, {"mode": "text", "prompt": "noise", "seed": 5, "steps": 1}))
    mask = Image.new("L", (64, 48))
    mask.paste(255, (0, 0, 32, 48))
    mask.save(paths["mask"])
    return paths


def stated(about: dict[str, Any]) -> list[Any]:
    """The values that a parameter's description names: its choices, or its default."""
    choices = about["type"].get("enum", [about.get("parameter_default")])
    return [value for value in choices if not any(part in str(value) for part in ELSEWHERE)]


def spelled(value: Any) -> Any:
    """A number as a word."""
    return str(value) if isinstance(value, int | float) else value


@pytest.mark.parametrize("spelling", [lambda value: value, spelled], ids=["numbers", "words"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_the_description_says_works(
    client: Client, files: dict[str, Path], endpoint: str, spelling: Callable[[Any], Any]
) -> None:
    parameters = client.view_api(return_format="dict")["named_endpoints"][f"/{endpoint}"]["parameters"]
    values = {about["parameter_name"]: stated(about) for about in parameters}
    for turn in range(max(map(len, values.values()))):
        asked = {name: spelling(some[turn % len(some)]) for name, some in values.items()}
        asked |= {name: spelling(value) for name, value in QUICK.items() if name in values}
        asked |= {name: handle_file(path) for name, path in files.items() if name in values}
        if "ratio" in values:
            asked |= {"ratio": spelling(1.5)} if turn % 2 else {}
        assert client.predict(**asked, api_name=f"/{endpoint}")


def test_the_description_tells_numbers_and_limits(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    told = {about["parameter_name"]: about["type"] for about in endpoints["/text"]["parameters"]}
    assert told["steps"] == {"type": "integer", "minimum": 1, "maximum": 150}
    assert told["seed"] == {"type": "integer", "minimum": -1, "maximum": 2**53 - 1}
    assert told["guidance_scale"] == {"type": "number", "minimum": 0, "maximum": 30}
    for endpoint in ENDPOINTS[1:]:
        assert "picture" in [about["parameter_name"] for about in endpoints[f"/{endpoint}"]["parameters"]]


MISTAKES: dict[str, tuple[str, dict[str, Any], str]] = {
    "no steps": ("text", {"steps": None}, "`steps` cannot be None"),
    "half a seed": ("text", {"seed": 1.5}, "`seed` cannot be 1.5"),
    "a list of steps": ("text", {"steps": [4]}, r"`steps` cannot be \[4\]"),
    "a word for guidance": ("text", {"guidance_scale": "much"}, "`guidance_scale` cannot be 'much'"),
    "an unknown sampler": ("text", {"sampler": "Eular"}, "no sampler 'Eular'; choose one of Euler, "),
    "an unknown model": ("text", {"model": "nobody/knows"}, "no model 'nobody/knows'; there are pocket"),
    "a seed out of range": ("text", {"seed": 10**30}, "`seed` cannot be 1000.*less than or equal to 9007199254740991"),
    "a factor that is not offered": ("upscale", {"factor": "5"}, "factor cannot be 5; allowed are 2, 3, 4, 8"),
    "an unknown mode": ("interrogate", {"mode": ["best"]}, "mode cannot be .*allowed are best, fast"),
    "an unknown eye": ("interrogate", {"model": 7}, "no model '7' here; there are auto"),
    "an unknown anchor": ("outpaint", {"ratio": 1, "anchor": "top"}, "`anchor` cannot be 'top'"),
    "a word for a ratio": ("outpaint", {"ratio": "wide"}, "`ratio` cannot be 'wide'"),
    "a flat picture": ("outpaint", {"ratio": 0.1}, "aspect 0.1 is not allowed: from 0.25"),
    "neither yes nor no": ("inpaint", {"only_masked": 7}, "`only_masked` cannot be 7"),
    "a stack that is no list": ("filter", {"stack": 7}, "stack of filters"),
    "a picture that is a word": ("upscale", {"picture": "photo.png"}, "'photo.png': a picture is an uploaded file"),
    "a picture that is a number": ("read_back", {"picture": 5}, "cannot be 5: a picture is an uploaded file"),
    "a picture of the private network": (
        "upscale",
        {"picture": {"path": "http://127.0.0.1:9/a.png", "meta": {"_type": "gradio.FileData"}}},
        "Hostname 127.0.0.1 failed validation",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_answered_with_a_sentence(
    client: Client, files: dict[str, Path], capfd: pytest.CaptureFixture[str], what: str
) -> None:
    endpoint, wrong, sentence = MISTAKES[what]
    about = client.view_api(return_format="dict")["named_endpoints"][f"/{endpoint}"]["parameters"]
    names = [one["parameter_name"] for one in about]
    asked = {name: value for name, value in QUICK.items() if name in names}
    asked |= {name: handle_file(path) for name, path in files.items() if name in names}
    with pytest.raises(AppError, match=sentence):
        client.predict(**asked | wrong, api_name=f"/{endpoint}")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/etc/hostname", None])
def test_files_of_the_server_are_no_pictures(app_url: str, capfd: pytest.CaptureFixture[str], path: str | None) -> None:
    """As a client sends it that uploads nothing."""
    http = httpx.Client(base_url=app_url, timeout=30)
    for meta in ({}, {"meta": {"_type": "gradio.FileData"}}):
        event = http.post("gradio_api/call/read_back", json={"data": [{"path": path} | meta]}).json()["event_id"]
        answer = http.get(f"gradio_api/call/read_back/{event}").text
        assert answer.startswith("event: error") and "picture" in answer, answer
    assert "Traceback" not in capfd.readouterr().err


def test_a_result_of_this_server_is_a_picture_by_its_url(client: Client, app_url: str, files: dict[str, Path]) -> None:
    path, _ = client.predict(handle_file(files["picture"]), [{"filter": "invert"}], api_name="/filter")
    before = np.asarray(Image.open(path))
    http = httpx.Client(base_url=app_url, timeout=30)
    uploaded = http.post("gradio_api/upload", files={"files": files["picture"].read_bytes()}).json()[0]
    for url in (f"{app_url}gradio_api/file={uploaded}", f"{app_url}gradio_api/file={uploaded}?again=1"):
        again, _ = client.predict(handle_file(url), [{"filter": "invert"}], api_name="/filter")
        assert np.array_equal(np.asarray(Image.open(again)), before)
    for outside in ("/etc/hostname", f"{uploaded}/../../../../etc/hostname", "relative", ""):
        with pytest.raises(AppError, match="picture"):
            client.predict(handle_file(f"{app_url}gradio_api/file={outside}"), [], api_name="/filter")
