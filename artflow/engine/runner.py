"""One model on its device: encode, predict, decode, each for a whole batch. It decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from artflow.engine.conditioning import ConditionEncoder, Tensors
from artflow.engine.control import Controls
from artflow.engine.cost import CostModel
from artflow.engine.graphs import CudaGraphs, GraphPool
from artflow.engine.noise_schedule import ScheduleMaker
from artflow.engine.request import Row
from artflow.engine.threads import ThreadPolicy
from artflow.engine.transfer import download, empty_cache, upload, upload_pictures
from artflow.errors import ArtflowError
from artflow.images import Picture, Size
from artflow.machine import cores

if TYPE_CHECKING:
    from artflow.models.model import Model
    from artflow.models.safety import SafetyChecker
    from artflow.prompts.reader import PromptReader

log = logging.getLogger(__name__)

Compute = Callable[[Tensors], torch.Tensor]

SHAPES_KEPT = 8  # of latents for which the blank input of an inpaint model is kept


class Runner:
    """Computes on one of the engine's threads at a time. All latents are float32, whatever the model's own dtype.

    No call has more than ``max_batch`` rows. While ``fixed_batches`` says so it has 1, 2, 4, 8 ... or ``max_batch`` of
    them, padded, so that compiled code meets few shapes; it is asked at each call, since a compilation may be given up.
    With ``use_cuda_graph`` calls of the model's own size are padded to the batches that `warm_up` has recorded. Else
    padding would be work for nothing.
    ``reader`` reads prompts for a model that needs it, ``checker`` looks at every picture before it is shown.
    """

    def __init__(
        self,
        model: Model,
        *,
        max_batch: int = 16,
        fixed_batches: Callable[[], bool] = lambda: False,
        use_cuda_graph: bool = False,
        reader: PromptReader | None = None,
        checker: SafetyChecker | None = None,
    ) -> None:
        self.model = model
        self.threads = ThreadPolicy(cores() if model.device.type == "cpu" else 1)
        self._reader = reader
        self.cost = CostModel()
        self._checker = checker
        self.conditions = ConditionEncoder(model, (lambda text: reader.read(text).text) if reader else str)
        self.schedules = ScheduleMaker(model.scheduler_config, model.live_schedule)
        self.controls = Controls(model)
        self.max_batch = max_batch
        self._fixed_batches = fixed_batches
        self.graphs = GraphPool() if use_cuda_graph else None
        self._networks = self._made_networks()
        self._warming_up = False
        self._max_rows: dict[Hashable, int] = {}
        self._blanks: dict[torch.Size, torch.Tensor] = {}

    def reading(self, prompt: str) -> dict[str, Any]:
        """What a recipe says of the text that was really used: nothing where it is the prompt itself."""
        return {} if self._reader is None else self._reader.facts(prompt)

    def inputs(self, prepared: Tensors, size: Size, guidance: float = 1.0) -> Tensors:
        """The inputs of a row of this size: what was prepared for it, and what follows from the rest."""
        return self.model.inputs(prepared, size, guidance)

    def nothing_kept(self, size: Size) -> Tensors:
        """What an inpaint model is shown where nothing is to stay: a mask of ones and a grey picture."""
        return {"inpaint": self._blank(size)} if self.model.inpaints else {}

    def latent_mask(self, mask: NDArray[np.uint8], size: Size) -> torch.Tensor:
        """The mask of a picture that is shown at ``size``, for its latent: float32 of shape (height, width).

        1 wherever any painted pixel (over 127) falls, else 0.
        """
        pixels = torch.from_numpy((mask > 127).astype(np.float32))[None]
        shape = self.model.latent_shape(size)[1:]
        return upload(torch.nn.functional.adaptive_max_pool2d(pixels, shape)[0], self.model.device)

    @torch.inference_mode()
    def warm_up(self, times: int) -> None:
        """Make pictures of nothing, so that nobody waits for kernels to be chosen, compiled and recorded.

        Batches of all sizes that will be met, the largest first: graphs share the memory of those before them.
        """
        size = self.model.info.native_size
        blank = np.full((size.height, size.width, 3), 127, np.uint8)
        latent = self.encode([blank])[0]
        inputs = {**self.inputs(self.conditions.encode(""), size), **self.nothing_kept(size)}
        row = Row(latent, torch.tensor(499.0, device=self.model.device), inputs)
        self._warming_up = True
        try:
            for _ in range(times):
                for count in reversed(self._batches(size) or [1]):
                    self._warm_up_batch(blank, row, count)
        finally:
            self._warming_up = False

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Pictures of one size to latents of shape (batch, channels, height, width)."""
        most = self.model.pictures_at_once(pictures[0].shape[0] * pictures[0].shape[1])
        parts = [self._encoded(pictures[i : i + most]) for i in range(0, len(pictures), most)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @torch.inference_mode()
    def predict(self, rows: Sequence[Row]) -> torch.Tensor:
        """The network's raw outputs for rows that can share a call: (rows, channels, height, width)."""
        parts = [self._predicted(rows[i : i + self.max_batch]) for i in range(0, len(rows), self.max_batch)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> list[Picture]:
        """Latents of shape (batch, channels, height, width) to pictures.

        Raises:
            ArtflowError: ``not_finite`` where one of them holds what is no number.
        """
        scale = self.model.vae_scale
        most = self.model.pictures_at_once(latents.shape[-2] * latents.shape[-1] * scale**2)
        return [picture for part in latents.split(min(most, self.max_batch)) for picture in self._decoded(part)]

    def max_rows(self, compat: Hashable) -> int:
        """How many rows a call of this shape may have, as far as the memory has been found to hold."""
        return self._max_rows.get(compat, self.max_batch)

    def out_of_memory(self, error: Exception, compat: Hashable, count: int) -> ArtflowError | None:
        """What to say where the device's memory was full for so many requests of a shape, which is remembered;
        None for any other error."""
        if not isinstance(error, torch.OutOfMemoryError):
            return None
        self._max_rows[compat] = max(1, min(count // 2, self.max_rows(compat)))
        sentence = "The device's memory is full: fewer people at once, or a smaller picture, will fit."
        return ArtflowError("out_of_memory", sentence)

    def free_memory(self) -> None:
        """Give back what the allocator keeps."""
        empty_cache(self.model.device)

    def flagged(self, pictures: Sequence[Picture]) -> list[bool]:
        """Which of them must not be shown; none of them where nothing checks."""
        return self._checker.flagged(pictures) if self._checker else [False] * len(pictures)

    def _warm_up_batch(self, blank: Picture, row: Row, count: int) -> None:
        try:
            self.encode([blank] * count)
            self.predict([row] * count)
            self.decode(row.latent.expand(count, -1, -1, -1))
        except torch.OutOfMemoryError:
            if count == 1:
                raise
            log.warning("batches of %d do not fit into the memory", count)

    def _made_networks(self) -> dict[str, Compute]:
        """The functions of the model by name, each of named tensors; with graphs those that can be recorded are."""
        model = self.model

        def predict(given: Tensors) -> torch.Tensor:
            inputs = {name: value for name, value in given.items() if name not in ("latents", "timesteps")}
            return model.predict(given["latents"], given["timesteps"], inputs)

        networks: dict[str, Compute] = {
            "encode": lambda given: model.encode(given["pixels"]),
            "predict": predict,
            "decode": lambda given: model.decode(given["latents"]),
        }
        if self.graphs is not None:
            recorded = networks if model.small_autoencoder else ("predict",)
            networks |= {name: CudaGraphs(networks[name], self.graphs) for name in recorded}
        return networks

    def _run(self, network: str, pixels: int, given: Tensors) -> torch.Tensor:
        compute = self._networks[network]
        if self._warming_up and isinstance(compute, CudaGraphs):
            compute.record(given)
        with self.threads.call(network, pixels):
            return compute(given)

    def _encoded(self, pictures: Sequence[Picture]) -> torch.Tensor:
        count = len(pictures)
        height, width, _ = pictures[0].shape
        padding = self._padding(count, Size(width, height)) if self._is_recorded("encode") else 0
        pixels = upload_pictures([*pictures, *[pictures[-1]] * padding], self.model.device)
        return self._run("encode", pixels[..., 0].numel(), {"pixels": pixels})[:count]

    def _predicted(self, rows: Sequence[Row]) -> torch.Tensor:
        count = len(rows)
        rows = [*rows, *[rows[-1]] * self._padding(count, self._size(rows[0].latent))]
        inputs = {name: torch.stack([row.inputs[name] for row in rows]) for name in rows[0].inputs}
        latents = torch.stack([row.latent for row in rows])
        timesteps = torch.stack([row.timestep for row in rows])
        if any(extras := [row.extras for row in rows]):  # never recorded: what they are changes with people's settings
            with self.threads.call("predict", self._pixels(latents)):
                return self.model.predict_with(latents, timesteps, inputs, extras)[:count]
        given = {"latents": latents, "timesteps": timesteps, **inputs}
        return self._run("predict", self._pixels(latents), given)[:count]

    def _decoded(self, latents: torch.Tensor) -> list[Picture]:
        count = len(latents)
        padded_to = self._is_recorded("decode") or self._fixed_batches()
        padding = self._padding(count, self._size(latents)) if padded_to else 0
        padded = torch.cat([latents, latents[-1:].expand(padding, -1, -1, -1)])
        pixels = self._run("decode", self._pixels(padded), {"latents": padded})[:count]
        finite = pixels.isfinite().all()
        pixels = pixels.add_(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        pictures, all_finite = download(pixels.contiguous(), finite)
        if all_finite:
            return list(pictures.numpy())
        # Half precision overflows in some autoencoders, which show black then: float32 decides whether it was that.
        if latents.isfinite().all() and self.model.use_float32_decoder():
            return self._decoded(latents)
        sentence = "The model gave no picture but numbers that are not finite; try other settings or dtype float32."
        raise ArtflowError("not_finite", sentence)

    def _pixels(self, latents: torch.Tensor) -> int:
        return latents[:, 0].numel() * self.model.vae_scale**2

    def _is_recorded(self, network: str) -> bool:
        return isinstance(self._networks[network], CudaGraphs)

    def _size(self, latent: torch.Tensor) -> Size:
        """The size of the picture that a latent of shape (..., height, width) stands for."""
        height, width = latent.shape[-2:]
        return Size(width * self.model.vae_scale, height * self.model.vae_scale)

    def _padding(self, count: int, size: Size) -> int:
        """How many a batch for pictures of this size is filled up with."""
        batches = self._batches(size)
        return next(batch for batch in batches if batch >= count) - count if batches else 0

    def _batches(self, size: Size) -> list[int]:
        """What batches for pictures of this size are padded to, rising; none: any number will do."""
        if self._fixed_batches():
            return _buckets(self.max_batch)
        if self.graphs is None or self.graphs.problem or size != self.model.info.native_size:
            return []
        return sorted({*_buckets(self.max_batch), *(count for count in (3, 6, 12) if count < self.max_batch)})

    def _blank(self, size: Size) -> torch.Tensor:
        shape = torch.Size(self.model.latent_shape(size)[1:])
        if shape not in self._blanks:
            if len(self._blanks) >= SHAPES_KEPT:
                self._blanks.clear()
            grey = self.encode([np.full((size.height, size.width, 3), 127, np.uint8)])[0]
            self._blanks[shape] = torch.cat([torch.ones_like(grey[:1]), grey])
        return self._blanks[shape]


def device_lost(error: Exception) -> bool:
    """Whether an error means that the device answers nothing any more: those of CUDA stay until the process ends."""
    return not isinstance(error, torch.OutOfMemoryError) and "CUDA error:" in str(error)


def _buckets(most: int) -> list[int]:
    """1, 2, 4, 8 ... below the most, and the most."""
    return [2**i for i in range((most - 1).bit_length())] + [most]
