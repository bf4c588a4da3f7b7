"""The app as a tool of a language model, by the official client of the Model Context Protocol."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult
from PIL import Image

Conversation = Callable[[ClientSession], Awaitable[Any]]


def talk(app_url: str, conversation: Conversation) -> Any:
    """What a conversation with the server gives; in a thread, since the browser of other tests has its loop in this."""

    async def held() -> Any:
        async with (
            streamablehttp_client(f"{app_url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await conversation(session)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, held()).result(120)


async def told(progress: float, total: float | None, message: str | None) -> None:
    """Listens to progress, and so sends a token for it."""


def pictures(result: CallToolResult) -> list[Image.Image]:
    """The pictures in an answer, as a client shows them."""
    images = [content for content in result.content if content.type == "image"]
    assert all(image.mimeType == "image/jpeg" for image in images)
    return [Image.open(io.BytesIO(base64.b64decode(image.data))) for image in images]


def texts(result: CallToolResult) -> list[str]:
    """The words of an answer."""
    return [content.text for content in result.content if content.type == "text"]


def urls(result: CallToolResult) -> dict[str, str]:
    """The files of an answer, name to URL."""
    return dict(text.split(": ", 1) for text in texts(result) if ".png: http" in text)


@pytest.mark.parametrize("progress", [None, told], ids=["plain", "with progress"])
def test_a_result_is_a_small_picture_and_the_url_of_the_whole(app_url: str, progress: Any) -> None:
    asked = {"prompt": "a red apple", "steps": 1, "seed": 5, "batch_count": 2}
    result = talk(app_url, lambda session: session.call_tool("text", asked, progress_callback=progress))
    files = urls(result)
    assert [*files] == ["artflow-text-5-0.png", "artflow-text-6-1.png"]
    assert "Done: 2 pictures." in texts(result)
    for shown, url in zip(pictures(result), files.values(), strict=True):
        whole = Image.open(io.BytesIO(httpx.get(url).content))
        assert json.loads(whole.info["artflow"])["prompt"] == "a red apple"
        difference = np.abs(np.asarray(shown).astype(int) - np.asarray(whole))
        assert shown.size == whole.size and difference.mean() < 6


@pytest.mark.parametrize("progress", [None, told], ids=["plain", "with progress"])
def test_what_one_tool_makes_the_next_one_takes(app_url: str, progress: Any) -> None:
    async def chain(session: ClientSession) -> list[CallToolResult]:
        async def call(tool: str, **arguments: Any) -> CallToolResult:
            result = await session.call_tool(tool, arguments, progress_callback=progress)
            assert not result.isError, texts(result)
            return result

        drawn = await call("text", prompt="a red apple on a white background", steps=2, seed=5)
        (url,) = urls(drawn).values()
        painted = await call("inpaint", picture=url, mask=url, prompt="a green apple", steps=1)
        (url,) = urls(painted).values()
        enlarged = await call("upscale", picture=url, factor="8", upscaler="lanczos")  # as some models write numbers
        (url,) = urls(enlarged).values()
        return [enlarged, await call("interrogate", picture=url, mode="fast", model="embedded")]

    enlarged, found = talk(app_url, chain)
    assert [*urls(enlarged)] == ["artflow-8x.png"] and "Done. 1024 x 1024 pixels." in texts(enlarged)
    (shown,) = pictures(enlarged)
    assert shown.size == (768, 768)  # what a model looks at is small, whatever the file is
    assert any(text.startswith("Prompt: ") and len(text) > 12 for text in texts(found))
    assert any(text.startswith('Scores: {"subject": [[') for text in texts(found))


@pytest.mark.parametrize("progress", [None, told], ids=["plain", "with progress"])
@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("text", {"prompt": "x", "width": 65}, "width 65 is not a multiple of 8"),
        ("text", {"prompt": "x", "steps": "many"}, "'many' is not of type 'integer'"),
        ("upscale", {"picture": "http://127.0.0.1:9/a.png"}, "Hostname 127.0.0.1 failed validation"),
        ("upscale", {"picture": "/etc/hostname"}, "provide a url"),
        ("upscale", {"picture": "{app}gradio_api/file=/etc/hostname"}, "not uploaded here"),
    ],
)
def test_a_mistake_is_one_sentence(
    app_url: str, capfd: pytest.CaptureFixture[str], tool: str, arguments: dict[str, Any], sentence: str, progress: Any
) -> None:
    asked = {k: v.replace("{app}", app_url) if isinstance(v, str) else v for k, v in arguments.items()}
    result = talk(app_url, lambda session: session.call_tool(tool, asked, progress_callback=progress))
    assert result.isError and sentence in texts(result)[0]
    assert "Traceback" not in capfd.readouterr().err


def test_a_tool_says_what_it_takes(app_url: str) -> None:
    listed = talk(app_url, lambda session: session.list_tools()).tools
    taken = {tool.name: tool.inputSchema["properties"] for tool in listed}
    tabs = {"text", "inpaint", "remove", "outpaint", "upscale", "filter", "interrogate", "read_back"}
    assert {*taken} == tabs | {"read_style", "learn_style"}
    for name, properties in taken.items():
        assert name == "text" or "over MCP its URL, such as that of a result" in properties["picture"]["description"]
    assert taken["text"]["steps"] | {"type": "integer", "minimum": 1, "maximum": 150} == taken["text"]["steps"]
