"""A picture and a mask in, the picture with the masked part replaced out (mode ``inpaint``)."""

from __future__ import annotations

from typing import Any

from artflow.ui.components.live_view import LiveView


class InpaintView(LiveView):
    """A picture to paint a mask on, and the inpainted result, which follows the prompt.

    ``longest`` is the longest side that the server accepts, in pixels.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] = (512, 512),
        longest: int = 1024,
        elem_id: str = "artflow-live-inpaint",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            size=size,
            longest=longest,
            elem_id=elem_id,
            template="inpaint/template.html",
            style=("canvas/style.css", "inpaint/style.css"),
            script=(
                "canvas/sheet.js",
                "canvas/history.js",
                "canvas/stroke.js",
                "canvas/tools.js",
                "canvas/latest_frame.js",
                "canvas/drawing.js",
                "inpaint/mask_sheet.js",
                "inpaint/feather.js",
                "inpaint/patched.js",
                "inpaint/script.js",
            ),
            **kwargs,
        )
