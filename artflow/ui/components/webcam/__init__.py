"""Webcam in, picture out (mode ``realtime``)."""

from __future__ import annotations

from typing import Any

from artflow.ui.components.live_view import LiveView


class WebcamView(LiveView):
    """The camera on one side, the picture that follows it on the other."""

    def __init__(self, *, size: tuple[int, int] = (512, 512), elem_id: str = "artflow-webcam", **kwargs: Any) -> None:
        super().__init__(
            size=size,
            elem_id=elem_id,
            template="webcam/template.html",
            style=("webcam/style.css",),
            script=("webcam/script.js",),
            **kwargs,
        )
