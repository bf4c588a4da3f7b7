"""The whole page, and how it is launched."""

from __future__ import annotations

from typing import Any

import gradio as gr

from artflow.api.routes import app_kwargs
from artflow.modes.inpaint import InpaintParams
from artflow.modes.outpaint import OutpaintParams
from artflow.modes.tiled_img2img import UpscaleParams
from artflow.pipeline import Pipeline
from artflow.ui.filters_tab import MODE, FilterParams, FiltersTab
from artflow.ui.inpaint_tab import InpaintTab
from artflow.ui.inputs import own_files, own_places, refusal
from artflow.ui.interrogate_tab import InterrogateTab
from artflow.ui.live_tab import live_tab
from artflow.ui.lora_tab import LoraTab
from artflow.ui.metadata_panel import TargetTab, metadata_panel
from artflow.ui.outpaint_tab import OutpaintTab
from artflow.ui.send import connect
from artflow.ui.text_tab import TextTab
from artflow.ui.upscale_tab import UpscaleTab

CSS = """
.gradio-container > main { width: 100%; max-width: 1280px !important; margin: auto; }
#artflow-head p { margin: 0; opacity: .75; }
footer { opacity: .6; }
#artflow-text-preview img { width: 100%; height: 100%; object-fit: contain; }
#artflow-text-gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); }
.artflow-send { flex-wrap: wrap; gap: 6px; }
.artflow-send button { flex: 0 1 auto; }
"""

# Gradio's image components take files of the type image/* alone, and not every system has a type for these.
HEAD = """<script>
(() => {
  const types = { heic: "image/heic", heif: "image/heif", avif: "image/avif", tif: "image/tiff", tiff: "image/tiff" };
  const known = Object.getOwnPropertyDescriptor(Blob.prototype, "type");
  Object.defineProperty(File.prototype, "type", {
    ...known,
    get() { return known.get.call(this) || types[this.name.split(".").pop().toLowerCase()] || ""; },
  });
})();
</script>"""


class Artflow(gr.Blocks):
    """The app's page; ``launch`` adds the routes, whatever its arguments."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(title="ArtFlow", delete_cache=(600, 6 * 3600), analytics_enabled=False, fill_width=True)
        self._pipeline = pipeline

    @property
    def mcp_server_obj(self) -> Any:
        """The MCP server, where it is on: ours, where Gradio's launch sets one of its own."""
        return self._mcp_server

    @mcp_server_obj.setter
    def mcp_server_obj(self, server: Any) -> None:
        if server is not None:
            from artflow.ui.mcp_server import ToolServer  # what it needs is heavy, and off with a sign-in

            server = ToolServer(self)
        self._mcp_server = server

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Gradio's; the URL of a file that this server has made stands for the file."""
        known = own_files(inputs, own_places(self, kwargs.get("request")))
        return await super().process_api(block_fn, known, *args, **kwargs)

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> Any:
        """Gradio's; what it cannot take is a mistake of the client's, who is told in one sentence."""
        try:
            return await super().preprocess_data(*args, **kwargs)
        except Exception as error:
            raise refusal(error) from error

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        """Gradio's ``launch`` with what ArtFlow needs: its routes, and no server-side rendering.

        Server-side rendering puts a proxy in front of the app that does not pass on WebSockets. The MCP server is off
        with ``auth``: Gradio would list its tools to everybody and let nobody call them.
        """
        ours = app_kwargs(self._pipeline)
        theirs = kwargs.pop("app_kwargs", None) or {}
        if "lifespan" in theirs:
            raise ValueError("app_kwargs cannot bring a lifespan: ArtFlow has its own.")
        needed: dict[str, Any] = {
            "ssr_mode": False,
            "run_history": False,
            "theme": gr.themes.Soft(),
            "max_file_size": self._pipeline.settings.server.max_file_bytes,
            "mcp_server": not (kwargs.get("auth") or kwargs.get("auth_dependency")),
        }
        both = {part: [*ours[part], *theirs.get(part, [])] for part in ("routes", "middleware")}
        ways = {
            "css": CSS + (kwargs.pop("css", None) or ""),
            "head": HEAD + (kwargs.pop("head", None) or ""),
            "app_kwargs": ours | theirs | both,
        }
        return super().launch(*args, **needed | kwargs | ways)


def build(pipeline: Pipeline) -> Artflow:
    """Build the page. No model is loaded before a user starts something."""
    demo = Artflow(pipeline)
    with demo:
        gr.Markdown(
            f"# ArtFlow\nPoint a camera, draw, or type: the picture follows. Model: **{pipeline.spec.title}**",
            elem_id="artflow-head",
        )
        notes = gr.Markdown(visible=False, elem_id="artflow-notes")
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Webcam", id="realtime"):
                realtime = live_tab(pipeline, "realtime")
            with gr.Tab("Canvas", id="canvas"):
                canvas = live_tab(pipeline, "canvas")
            with gr.Tab("Text", id="text"):
                text = TextTab(pipeline)
            with gr.Tab("Inpaint", id="inpaint"), gr.Tabs() as ways:
                with gr.Tab("Standard", id="inpaint"):
                    inpaint = InpaintTab(pipeline)
                with gr.Tab("Live", id="live-inpaint"):
                    live_inpaint = live_tab(pipeline, "inpaint")
            with gr.Tab("Outpaint", id="outpaint"):
                outpaint = OutpaintTab(pipeline)
            with gr.Tab("Upscale", id="upscale"):
                upscale = UpscaleTab(pipeline)
            with gr.Tab("Filters", id="filters"):
                filters = FiltersTab(pipeline)
            with gr.Tab("Interrogate", id="interrogate"):
                interrogate = InterrogateTab(pipeline)
            with gr.Tab("LoRA", id="lora"):
                LoraTab(pipeline)
        inner = {"inpaint": ("inpaint", ways), "live-inpaint": ("inpaint", ways)}
        connect(
            [realtime.send, canvas.send, text.send, inpaint.send, live_inpaint.send, outpaint.send, upscale.send,
             filters.send],
            {"inpaint": inpaint.picture, "outpaint": outpaint.picture, "upscale": upscale.picture,
             "filters": filters.picture, "interrogate": interrogate.picture},
            {"outpaint": outpaint.controls["prompt"], "upscale": upscale.controls["prompt"]},
            tabs, inner,
        )  # fmt: skip
        interrogate.connect({"realtime": realtime.controls, "canvas": canvas.controls, "text": text.controls}, tabs)
        live, job = pipeline.parameters.live, pipeline.parameters.job
        size = frozenset({"width", "height"})
        targets = {
            "text": TargetTab("text", pipeline.parameters.text(), text.controls),
            "realtime": TargetTab("realtime", live("realtime"), realtime.controls),
            "canvas": TargetTab("canvas", live("canvas"), canvas.controls),
            "live-inpaint": TargetTab("live-inpaint", live("inpaint"), live_inpaint.controls, follows=size),
            "inpaint": TargetTab("inpaint", job(InpaintParams), inpaint.controls),
            "outpaint": TargetTab("outpaint", job(OutpaintParams), outpaint.controls),
            "upscale": TargetTab("upscale", job(UpscaleParams), upscale.controls),
            MODE: TargetTab("filters", FilterParams(), {"filters": filters.shown}),
        }
        filters.take_over(*metadata_panel(pipeline, tabs, targets, inner))
        leaves = [text.leave, inpaint.leave, outpaint.leave, upscale.leave, filters.leave, interrogate.leave]
        leaves += [tab.styles.leave for tab in (realtime, canvas) if tab.styles is not None]
        for leave in leaves:
            demo.unload(leave)  # Gradio itself ends a generator only between two of its values
        # Polled, since fallbacks are known only after a model has been loaded, on a user's first request.
        gr.on(
            [demo.load, gr.Timer(10).tick], lambda: _notes(pipeline), None, notes, queue=False,
            show_progress="hidden", api_visibility="private",
        )  # fmt: skip
    demo.queue(max_size=64)
    return demo


def _notes(pipeline: Pipeline) -> Any:
    return gr.Markdown("\n\n".join(pipeline.notes), visible=bool(pipeline.notes))
