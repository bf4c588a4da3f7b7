"""Drawing in, picture out (mode ``canvas``)."""

from __future__ import annotations

from typing import Any

from artflow.ui.components.live_view import LiveView


class CanvasView(LiveView):
    """The drawing with its layers on one side, the result of each stroke on the other."""

    def __init__(self, *, size: tuple[int, int] = (512, 512), elem_id: str = "artflow-canvas", **kwargs: Any) -> None:
        super().__init__(
            size=size,
            elem_id=elem_id,
            template="canvas/template.html",
            style=("canvas/style.css",),
            script=(
                "canvas/sheet.js",
                "canvas/history.js",
                "canvas/stroke.js",
                "canvas/tools.js",
                "canvas/colours.js",
                "canvas/latest_frame.js",
                "canvas/stroke_queue.js",
                "canvas/layers.js",
                "canvas/drawing.js",
                "canvas/script.js",
            ),
            **kwargs,
        )
