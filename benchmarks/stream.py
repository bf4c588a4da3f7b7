"""Frames a second of one stream: ours, StreamDiffusion 0.1.1, and diffusers' image-to-image.

``python -m benchmarks.stream [--models sd-turbo pocket] [--rounds 5]``. The same weights and pictures, in turns,
warmed up, medians; PSNR is ours to float32. Ours is the whole engine at its default settings, pictures in and pictures
out; the reference is its core calls (encode_image, predict_x0_batch, decode_image) with the same conversion of pictures
around them.
"""

from __future__ import annotations

import argparse
import queue
from collections.abc import Callable
from itertools import cycle

import numpy as np
import torch
from diffusers import AutoPipelineForImage2Image
from PIL import Image

from artflow.engine import stream
from artflow.engine.engine import Engine
from artflow.engine.params import LiveParams
from artflow.engine.runner import Runner
from artflow.engine.session import LiveSession
from artflow.engine.stream_policy import Result, StreamPolicy
from artflow.images import Picture
from benchmarks.common import apart, in_turns, machine, psnr, scenes
from benchmarks.models import Subject, subject
from tests.support.reference import streamdiffusion

INDICES = {1: (25,), 2: (20, 35), 4: (10, 20, 30, 40)}
PROMPT = "a cat on grass"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["sd-turbo", "pocket"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine()}\n")
    head = ["model", "n", "ours fps", "StreamDiffusion fps", "diffusers fps", "vs StreamDiffusion", "vs diffusers"]
    head.append("PSNR")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    for name in options.models:
        compare(name, options.rounds)


def compare(name: str, rounds: int) -> None:
    """One row for each n."""
    chosen = apart(lambda: subject(name))
    pictures = scenes(16, chosen.side)
    frames = 1 if chosen.name == "sd-turbo" else 10
    for n, indices in INDICES.items():
        engine = Engine()
        ours = LiveStream(engine, engine.run_on_engine_thread(chosen.runner).result(), chosen.side, indices)
        exact = LiveStream(
            engine, engine.run_on_engine_thread(lambda: Runner(chosen.plain)).result(), chosen.side, indices
        )
        quality = psnr(ours.run(pictures[:n])[0], exact.run(pictures[:n])[0])
        exact.close()
        makers = {"reference": lambda: reference(chosen, indices), "diffusers": lambda: image_to_image(chosen, n)}  # noqa: B023
        peers = {peer: engine.run_on_engine_thread(make).result() for peer, make in makers.items()}
        feed = cycle(pictures)

        def alone(step: Callable[[Picture], object]) -> Callable[[], object]:
            return lambda: engine.run_on_engine_thread(lambda: [step(next(feed)) for _ in range(frames)]).result()  # noqa: B023

        sides: dict[str, Callable[[], object]] = {"ours": lambda: [ours.step(next(feed)) for _ in range(frames)]}  # noqa: B023
        sides |= {peer: alone(step) for peer, step in peers.items()}
        seconds = in_turns(sides, rounds=rounds)
        fps = {side: frames / value for side, value in seconds.items()}
        cells = [f"{chosen.name}, {chosen.side} px", str(n), *(f"{fps[side]:.2f}" for side in sides)]
        cells += [f"{fps['ours'] / fps[peer]:.2f} x" for peer in peers] + [f"{quality:.1f} dB"]
        print(f"| {' | '.join(cells)} |", flush=True)
        ours.close()
        engine.close()


class LiveStream:
    """One pipelined session, fed a frame at a time."""

    def __init__(self, engine: Engine, runner: Runner, side: int, indices: tuple[int, ...]) -> None:
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        params = LiveParams(prompt=PROMPT, width=side, height=side, priority="quality", t_index_list=indices)
        policy = StreamPolicy("benchmark", pipelined=True, latest_only=False)
        self._session = stream.LiveStream(runner.model.info, params, policy, self._results.put)
        engine.add(LiveSession.of(self._session, runner))
        self._ahead = len(indices) - 1

    def step(self, picture: Picture) -> Result | None:
        """A frame in; the oldest frame's result out, once the pipe is full."""
        self._session.submit(picture)
        if self._ahead:
            self._ahead -= 1
            return None
        result = self._results.get()
        if result.error is not None:
            raise result.error
        return result

    def run(self, pictures: list[Picture]) -> list[Picture]:
        """Frames in one after the other; the pictures that come out."""
        results = [self.step(picture) for picture in pictures]
        return [r.picture for r in results if r is not None and r.picture is not None]

    def close(self) -> None:
        """End the session."""
        self._session.close()


def reference(chosen: Subject, indices: tuple[int, ...]) -> Callable[[Picture], object]:
    """StreamDiffusion's core calls on one frame."""
    model = chosen.plain
    stream = streamdiffusion().StreamDiffusion(
        chosen.diffusers_pipeline(), list(indices), torch_dtype=model.dtype, width=chosen.side, height=chosen.side,
        cfg_type="none",
    )  # fmt: skip
    _allow_latent_channels(stream, model.latent_channels)
    stream.prepare(PROMPT, num_inference_steps=50, guidance_scale=1.0, generator=torch.Generator())

    @torch.no_grad()
    def step(picture: Picture) -> Picture:
        pixels = torch.from_numpy(picture).to(model.device).permute(2, 0, 1)[None].to(model.dtype) / 127.5 - 1
        output = stream.decode_image(stream.predict_x0_batch(stream.encode_image(pixels)))
        output = ((output.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return output[0].permute(1, 2, 0).contiguous().cpu().numpy()

    return step


def _allow_latent_channels(stream: object, channels: int) -> None:
    """The reference writes 4 latent channels into its buffers; give it the model's own number, changing no work."""
    if channels == 4:
        return
    prepare = stream.prepare

    def patched(*args: object, **kwargs: object) -> None:
        zeros, randn = torch.zeros, torch.randn

        def sized(make: Callable) -> Callable:
            return lambda shape, *a, **k: make((shape[0], channels, *shape[2:]) if len(shape) == 4 else shape, *a, **k)

        torch.zeros, torch.randn = sized(zeros), sized(randn)
        try:
            prepare(*args, **kwargs)
        finally:
            torch.zeros, torch.randn = zeros, randn

    stream.prepare = patched


def image_to_image(chosen: Subject, n: int) -> Callable[[Picture], object]:
    """diffusers' AutoPipelineForImage2Image with n denoising steps, guidance off, the prompt encoded beforehand."""
    pipe = AutoPipelineForImage2Image.from_pipe(chosen.diffusers_pipeline())
    pipe.set_progress_bar_config(disable=True)
    embeds, _ = pipe.encode_prompt(PROMPT, chosen.plain.device, 1, False)

    def step(picture: Picture) -> np.ndarray:
        output = pipe(
            prompt_embeds=embeds, image=Image.fromarray(picture), num_inference_steps=2 * n, strength=0.5,
            guidance_scale=1.0, output_type="np",
        )  # fmt: skip
        return output.images[0]

    return step


if __name__ == "__main__":
    main()
