"""ArtFlow: the picture follows at once. In a notebook: ``import artflow; artflow.notebook()``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from artflow import memory

# How often the threads of one computation look for each other before they sleep, read when torch is imported. libgomp's
# own 300,000 times are 20 ms of a core: beside another program that is what each of hundreds of waits in a call takes.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
memory.keep_little()

if TYPE_CHECKING:
    from artflow.ui.app import Artflow

__version__ = "0.1.0"


def notebook(**launch: Any) -> Artflow:
    """Show the app in a Jupyter or Colab cell; keyword arguments go to ``launch`` (``share=True`` ...).

    In a plain script it serves until it is stopped, as ``launch`` does.
    """
    from artflow.pipeline import get_pipeline
    from artflow.ui.app import build

    demo = build(get_pipeline())
    demo.launch(**{"inline": True} | launch)
    return demo
