"""The tools of the MCP server: what a client of a tool gets to see. Imported only where the server is on."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync
from gradio.mcp import GradioMCPServer
from gradio.route_utils import API_PREFIX
from gradio_client.utils import encode_file_path, is_file_obj_with_meta
from mcp import types
from mcp.server import Server
from pydantic import Field

from artflow.images import decode, encode_jpeg

PREVIEW = 768  # longest side of the picture in an answer, which a language model looks at and pays for
QUALITY = 85
MOST_PIXELS = 2**28  # more than any result has
OF_THE_PAGE = (gr.Image, gr.ImageSlider)  # previews and comparisons; results are of other classes


class ResultFile(types.TextContent):
    """A result as its name and URL; `path` stays here, and becomes the preview before it."""

    path: str = Field(exclude=True)


class ToolServer(GradioMCPServer):
    """Gradio's MCP server with answers that every client can show.

    Each result is a small JPEG and the URL of its PNG file, which the next tool takes; what is only for the page is
    left out. Gradio itself answers with the Python text of a tuple, or with whole pictures of several MB.
    """

    def create_mcp_server(self) -> Server:
        """Gradio's server, which takes numbers as words, too.

        Previews are added in a thread, since nobody's live frames may wait for a PNG to be decoded.
        """
        server = super().create_mcp_server()
        call = server.request_handlers[types.CallToolRequest]

        async def call_and_show(request: types.CallToolRequest) -> types.ServerResult:
            if request.params.name in self.tool_to_endpoint:
                schema, _ = self.get_input_schema(request.params.name)
                request.params.arguments = with_numbers(request.params.arguments or {}, schema["properties"])
            result = await call(request)
            if isinstance(result.root, types.CallToolResult):
                result.root.content = await run_sync(with_previews, result.root.content)
            return result

        server.request_handlers[types.CallToolRequest] = call_and_show
        return server

    @staticmethod
    def pop_returned_state(components: Sequence[Any], data: Any) -> list[tuple[str, Any]]:
        """(label, value) of the outputs that are results; Gradio takes out those that are no outputs of the API."""
        values = data[0] if len(data) == 1 and isinstance(data[0], tuple) else data  # without progress it is a tuple
        pairs = zip(components, values, strict=True)
        return [(component.label or "", value) for component, value in pairs if type(component) not in OF_THE_PAGE]

    def postprocess_output_data(self, data: list[tuple[str, Any]], root_url: str) -> list[Any]:
        """The results as contents: files by name and URL, other values as text."""
        contents: list[Any] = []
        for label, value in data:
            files = _files(value)
            contents += [_named(file["path"], root_url) for file in files]
            if not files and value not in (None, ""):
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                contents.append(types.TextContent(type="text", text=f"{label}: {text}" if label else text))
        return contents


def with_numbers(arguments: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with numbers that were sent as words as numbers; the server refuses words by the tool's schema."""
    kinds = {name: about.get("type") for name, about in properties.items()}
    return {
        name: _number(value) if kinds.get(name) in ("integer", "number") else value for name, value in arguments.items()
    }


def _number(value: Any) -> Any:
    for kind in (int, float) if isinstance(value, str) else ():
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def with_previews(contents: Sequence[Any]) -> list[Any]:
    """The contents, each picture file after a JPEG of at most `PREVIEW` pixels a side."""
    shown: list[Any] = []
    for content in contents:
        if isinstance(content, ResultFile):
            shown.append(types.ImageContent(type="image", data=preview(content.path), mimeType="image/jpeg"))
        shown.append(content)
    return shown


def preview(path: str) -> str:
    """A small JPEG of a picture file, in base64."""
    small = decode(Path(path).read_bytes(), max_pixels=MOST_PIXELS, longest=PREVIEW)
    return base64.b64encode(encode_jpeg(small, QUALITY)).decode()


def _files(value: Any) -> list[dict[str, Any]]:
    """The picture files in a value: an image component's, or a gallery's."""
    if is_file_obj_with_meta(value):
        return [value]
    listed = value if isinstance(value, list | tuple) else ()
    return [one["image"] for one in listed if isinstance(one, dict) and is_file_obj_with_meta(one.get("image"))]


def _named(path: str, root_url: str) -> ResultFile:
    url = f"{root_url}{API_PREFIX}/file={encode_file_path(path)}"
    return ResultFile(type="text", text=f"{Path(path).name}: {url}", path=path)
