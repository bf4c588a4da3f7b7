"""What teaching and distilling share: updates of denoiser and text tower, their averages, a peer, checkpoints."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from training.common import CACHE, Average, Progress, save_checkpoint
from training.muon import over
from training.peers import Peer

TEXT_RATE = 0.2  # of the UNet's learning rate: the words' own directions must not collapse
MEET_EVERY = 16  # updates between two meetings of peers


def arguments(description: str | None, steps: int, rate: float, ring: int) -> argparse.ArgumentParser:
    """A parser with the options of both stages; ``steps``, ``rate`` and ``ring`` are the stage's defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="updates in all; the decay is fitted to it")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--fresh", type=int, default=6, help="new scenes per update")
    parser.add_argument("--ring", type=int, default=ring, help="scenes kept encoded")
    parser.add_argument("--threads", type=int, default=1, help="2 only on an idle machine")
    parser.add_argument("--peer", choices=["a", "b"], help="one of two processes that share the work; b saves nothing")
    parser.add_argument("--compile", action="store_true", help="fuse the UNet's kernels (100 s to start, then faster)")
    parser.add_argument("--save-every", type=float, default=120, help="seconds between checkpoints")
    return parser


class Run:
    """A stage under way. ``denoise`` is the UNet to call, compiled if so asked; ``step`` counts updates.

    ``state`` is the stage's own checkpoint, if there is one; ``start`` has other weights to begin with.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        checkpoint: Path,
        state: dict | None,
        start: dict | None = None,
    ) -> None:
        self._args, self._unet, self.text, self._checkpoint = args, unet, text, checkpoint
        self.step = state["step"] if state else 0
        weights = state or start
        if weights:
            unet.load_state_dict(weights["unet"])
            text.load_state_dict(weights["text"])
        self._parameters = [*unet.parameters(), *text.parameters()]
        self._optimizer = over(unet, args.rate, [{"params": list(text.parameters()), "scale": TEXT_RATE}])
        self._average = Average([unet, text], decay=0.99)
        if state:
            if "muon" in state.get("optimizer", {}):
                self._optimizer.load_state_dict(state["optimizer"])
            self._average.modules[0].load_state_dict(state["unet_average"])
            self._average.modules[1].load_state_dict(state["text_average"])
        # each batch size is compiled as it is: kernels for any size are slower
        self.denoise = torch.compile(unet, dynamic=False) if args.compile else unet
        other = "b" if args.peer == "a" else "a"
        self._peer = Peer(CACHE, args.peer, other, self._parameters) if args.peer else None
        self._progress, self._saved = Progress(self.step, args.steps, args.batch), time.monotonic()

    def update(self, loss: torch.Tensor, rate: float) -> None:
        """One step down ``loss`` at a learning rate; what is due now and then (peer, checkpoint) is done as well."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self.step += 1
        if self._peer and self.step % MEET_EVERY == 0:
            self._peer.meet()
        self._average.update(self.step)
        self._progress.update(self.step, loss.item())
        if time.monotonic() - self._saved > self._args.save_every or self.step == self._args.steps:
            self._keep()

    def _keep(self) -> None:
        self._saved = time.monotonic()
        if self._args.peer == "b":
            return
        unet, text = self._average.modules
        save_checkpoint(self._checkpoint, {
            "step": self.step, "unet": self._unet.state_dict(), "text": self.text.state_dict(),
            "optimizer": self._optimizer.state_dict(), "unet_average": unet.state_dict(),
            "text_average": text.state_dict(),
        })  # fmt: skip


def stage_seed(step: int, peer: str | None) -> int:
    """Resumed runs and peers must not see the same scenes again."""
    return step + (500_000 if peer == "b" else 0)
