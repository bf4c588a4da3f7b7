"""One model on its device: encode, denoise, decode, each for a whole batch. Only the engine's thread calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from artflow.engine.conditioning import PromptEncoder
from artflow.engine.flight import Row
from artflow.engine.graphs import CudaGraphs
from artflow.engine.schedule import ScheduleMaker
from artflow.engine.threads import ThreadPolicy, cores
from artflow.engine.upload import upload
from artflow.images import Picture, Size

if TYPE_CHECKING:
    from artflow.models.model import Model
    from artflow.models.safety import SafetyChecker
    from artflow.prompts.vocabulary import Vocabulary

SHAPES_KEPT = 8  # of latents for which what an inpaint UNet is shown beside is kept


class Runner:
    """Computes; decides nothing. All latents are float32, whatever the model's own dtype.

    No call has more than ``max_batch`` rows or pictures. While ``fixed_batches`` says so it has 1, 2, 4, 8 ... or
    ``max_batch`` of them, padded, so that compiled code meets few shapes, and with ``use_cuda_graph`` the UNet's calls
    do; else padding would be work for nothing. It is asked at each call, since a compilation may be given up.
    ``vocabulary`` is that of a model which has one, ``checker`` looks at every picture before it is shown.
    """

    def __init__(
        self,
        model: Model,
        *,
        max_batch: int = 16,
        fixed_batches: Callable[[], bool] = lambda: False,
        use_cuda_graph: bool = False,
        vocabulary: Vocabulary | None = None,
        checker: SafetyChecker | None = None,
    ) -> None:
        self.model = model
        self.threads = ThreadPolicy(cores() if model.device.type == "cpu" else 1)
        self.vocabulary = vocabulary
        self._checker = checker
        self.prompts = PromptEncoder(model, (lambda text: vocabulary.read(text).text) if vocabulary else str)
        self.schedules = ScheduleMaker(model.scheduler_config, model.live_schedule)
        self.max_batch = max_batch
        self._buckets = _buckets(max_batch)
        self._fixed_batches = fixed_batches
        self._graphs = use_cuda_graph  # of the UNet alone
        self._all_new: dict[torch.Size, torch.Tensor] = {}
        self._denoise: Callable[..., tuple[torch.Tensor]] = CudaGraphs(model.unet) if use_cuda_graph else model.unet
        self._tiny = isinstance(model.vae, AutoencoderTiny)

    def reading(self, prompt: str) -> dict[str, Any]:
        """What a recipe says of the text that was really used: nothing where it is the prompt itself."""
        return {} if self.vocabulary is None else self.vocabulary.facts(prompt)

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of a picture."""
        scale = self.model.vae_scale
        return self.model.latent_channels, size.height // scale, size.width // scale

    def latent_mask(self, mask: NDArray[np.uint8], size: Size) -> torch.Tensor:
        """The mask of a picture that is shown at ``size``, for its latent: float32 of shape (height, width).

        1 wherever any painted pixel (over 127) falls, else 0.
        """
        pixels = torch.from_numpy((mask > 127).astype(np.float32))[None]
        return torch.nn.functional.adaptive_max_pool2d(pixels, self.latent_shape(size)[1:])[0].to(self.model.device)

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Pictures of one size to latents of shape (batch, channels, height, width).

        AutoencoderKL gives the mean of its posterior: the same frame is the same latent, so a still scene is still.
        """
        device, vae = self.model.device, self.model.vae
        pixels = upload(torch.from_numpy(np.stack(pictures)), device).permute(0, 3, 1, 2)
        pixels = pixels.to(self.model.vae_dtype).div_(127.5).sub_(1)
        with self.threads.call("encode", pixels[:, 0].numel()):
            latents = vae.encode(pixels).latents if self._tiny else vae.encode(pixels).latent_dist.mode()
        return (latents.float() - self._shift) * vae.config.scaling_factor

    @torch.inference_mode()
    def predict(self, rows: Sequence[Row]) -> torch.Tensor:
        """The model's raw outputs for rows of one latent shape: (rows, channels, height, width)."""
        parts = [self._predict(rows[i : i + self.max_batch]) for i in range(0, len(rows), self.max_batch)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[Picture]:
        """Latents of shape (batch, channels, height, width) to pictures."""
        return [picture for part in latents.split(self.max_batch) for picture in self._decode(part)]

    def _decode(self, latents: torch.Tensor) -> list[Picture]:
        vae, count = self.model.vae, len(latents)
        padding = self._padding(count) if self._fixed_batches() else 0
        latents = torch.cat([latents, latents[-1:].expand(padding, -1, -1, -1)])
        latents = (latents / vae.config.scaling_factor + self._shift).to(self.model.vae_dtype)
        latents = latents.contiguous(memory_format=torch.channels_last)
        with self.threads.call("decode", self._pixels(latents)):
            pixels = vae.decode(latents, return_dict=False)[0]
        pixels = pixels.float().add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
        return list(pixels[:count].permute(0, 2, 3, 1).contiguous().cpu().numpy())

    def flagged(self, pictures: Sequence[Picture]) -> list[bool]:
        """Which of them must not be shown; none of them where nothing checks."""
        return self._checker.flagged(pictures) if self._checker else [False] * len(pictures)

    @property
    def _shift(self) -> float:
        return getattr(self.model.vae.config, "shift_factor", None) or 0.0

    def _predict(self, rows: Sequence[Row]) -> torch.Tensor:
        count = len(rows)
        padding = self._padding(count) if self._graphs or self._fixed_batches() else 0
        rows = [*rows, *[rows[-1]] * padding]
        model = self.model
        latents = torch.stack([self._shown(row.latent) for row in rows]).to(model.dtype)
        times = upload(torch.tensor([row.timestep for row in rows], dtype=torch.float32), model.device)
        text = torch.stack([row.conditioning.tokens for row in rows]).to(model.dtype)
        latents, extras = latents.contiguous(memory_format=torch.channels_last), self._extras(rows)
        with self.threads.call("predict", self._pixels(latents)):
            output = self._denoise(latents, times, encoder_hidden_states=text, return_dict=False, **extras)[0]
        return output[:count].float()

    def _pixels(self, latents: torch.Tensor) -> int:
        return latents[:, 0].numel() * self.model.vae_scale**2

    def _padding(self, count: int) -> int:
        """How many a batch is filled up with."""
        return next(bucket for bucket in self._buckets if bucket >= count) - count

    def _shown(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent as the UNet takes it: one for inpainting wants a mask too, and the picture without what is under it.

        Where nothing says what is to stay, all is made anew: the mask is 1 and the picture grey.
        """
        model = self.model
        if not model.inpaints or len(latent) != model.latent_channels:
            return latent
        shape = latent.shape[1:]
        if shape not in self._all_new:
            if len(self._all_new) >= SHAPES_KEPT:
                self._all_new.clear()
            height, width = (side * model.vae_scale for side in shape)
            grey = self.encode([np.full((height, width, 3), 127, np.uint8)])[0]
            self._all_new[shape] = torch.cat([torch.ones_like(grey[:1]), grey])
        return torch.cat([latent, self._all_new[shape]])

    def _extras(self, rows: Sequence[Row]) -> dict[str, Any]:
        """SDXL's pooled text and sizes; the guidance embedding of models distilled with one."""
        model = self.model
        extras: dict[str, Any] = {}
        if model.family == "sdxl":
            sizes = [(r.size.height, r.size.width, 0, 0, r.size.height, r.size.width) for r in rows]
            extras["added_cond_kwargs"] = {
                "text_embeds": torch.stack([r.conditioning.pooled for r in rows if r.conditioning.pooled is not None]),
                "time_ids": upload(torch.tensor(sizes, dtype=model.dtype), model.device),
            }
        if model.time_cond_width is not None:
            scales = torch.tensor([row.guidance - 1 for row in rows], dtype=torch.float32)
            extras["timestep_cond"] = guidance_embedding(scales, model.time_cond_width).to(model.device, model.dtype)
        return extras


def _buckets(most: int) -> list[int]:
    """1, 2, 4, 8 ... below the most, and the most."""
    return [2**i for i in range((most - 1).bit_length())] + [most]


def guidance_embedding(scales: torch.Tensor, width: int) -> torch.Tensor:
    """The sinusoidal embedding of guidance scale minus one: (batch,) to (batch, width) (2310.04378, section 4.3)."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(np.log(10_000.0) / (half - 1)))
    angles = scales[:, None] * 1000 * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, width - 2 * half))
