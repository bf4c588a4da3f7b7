"""ArtFlow, for `python app.py` and for a Space."""

import sys

from artflow import garbage
from artflow.errors import ArtflowError
from artflow.pipeline import get_pipeline
from artflow.ui.app import build

try:
    demo = build(get_pipeline())
except ArtflowError as error:
    sys.exit(f"ArtFlow cannot start: {error}")
garbage.freeze()

if __name__ == "__main__":
    demo.launch()
