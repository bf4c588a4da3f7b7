"""A webcam's JPEG to a picture's JPEG on the embedded model, one step: ours, and plain diffusers on the same weights.

``python -m benchmarks.webcam``. JPEG in and out included, in turns on one machine; what the browser does (camera,
network, enlarging to what it shows) is left to ``benchmarks.transport``.
"""

from __future__ import annotations

import io
from itertools import cycle

import numpy as np
from PIL import Image

from artflow.engine.engine import Engine
from artflow.images import decode, encode_jpeg
from benchmarks.common import apart, in_turns, machine, scenes
from benchmarks.models import subject
from benchmarks.stream import LiveStream, image_to_image

FRAMES, ROUNDS, SENT = 20, 7, 256  # pixels a side of what the browser sends


def main() -> None:
    """Print a table."""
    chosen = apart(lambda: subject("pocket"))
    feed = cycle([encode_jpeg(picture, 85) for picture in scenes(16, SENT)])
    engine = Engine()
    stream = LiveStream(engine, engine.run_on_engine_thread(chosen.runner).result(), chosen.side, (25,))
    plain = engine.run_on_engine_thread(lambda: image_to_image(chosen, 1)).result()

    def ours() -> None:
        for _ in range(FRAMES):
            result = stream.step(decode(next(feed), max_pixels=SENT**2))
            assert result is not None and result.picture is not None
            encode_jpeg(result.picture, 85)

    def theirs() -> None:
        for _ in range(FRAMES):
            with Image.open(io.BytesIO(next(feed))) as image:
                picture = np.asarray(image.convert("RGB").resize((chosen.side, chosen.side)))
            made = engine.run_on_engine_thread(lambda: plain(picture)).result()  # noqa: B023
            Image.fromarray((made * 255).round().astype(np.uint8)).save(io.BytesIO(), "JPEG", quality=85)

    seconds = in_turns({"ours": ours, "diffusers": theirs}, rounds=ROUNDS)
    fps = {side: FRAMES / value for side, value in seconds.items()}
    print(f"{machine()}\n\n| ours fps | diffusers fps | ratio |\n|---|---|---|")
    print(f"| {fps['ours']:.1f} | {fps['diffusers']:.1f} | {fps['ours'] / fps['diffusers']:.2f} x |")
    stream.close()
    engine.close()


if __name__ == "__main__":
    main()
