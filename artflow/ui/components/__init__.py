"""The live views: ``gr.HTML`` components that speak ArtFlow's WebSocket protocol from the browser.

``window.artflow.set(mode, {...})``, ``window.artflow.snapshot(mode)`` and
``window.artflow.loadPicture(mode, url)`` are what the controls around a view may call; the modes are
``realtime`` (webcam), ``canvas`` and ``inpaint``.
"""

from artflow.ui.components.canvas import CanvasView
from artflow.ui.components.inpaint import InpaintView
from artflow.ui.components.webcam import WebcamView

__all__ = ["CanvasView", "InpaintView", "WebcamView"]
