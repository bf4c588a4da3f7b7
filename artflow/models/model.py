"""A loaded model: its parts, and the properties that the engine computes with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from artflow.models.info import ModelInfo

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

    from artflow.models.catalog import ModelSpec


@dataclass(eq=False)
class Model:
    """One copy of a model's weights, shared by all sessions. It holds no state of a session."""

    spec: ModelSpec
    family: Literal["sd", "sdxl"]
    unet: UNet2DConditionModel
    vae: AutoencoderTiny | AutoencoderKL
    tokenizers: list[Any]
    """``CLIPTokenizer``: one for sd, two for sdxl."""
    text_encoders: list[Any]
    """``CLIPTextModel``; for sdxl a ``CLIPTextModelWithProjection`` as well."""
    scheduler_config: dict[str, Any]
    """The diffusers scheduler config: betas, ``trained_betas``, ``prediction_type``, ``timestep_spacing`` ..."""
    device: torch.device
    dtype: torch.dtype

    @property
    def id(self) -> str:
        return self.spec.id

    @cached_property
    def info(self) -> ModelInfo:
        """What others need to know of it, as plain values."""
        folder = self.spec.source.folder
        return ModelInfo(
            id=self.id,
            width=self.spec.width,
            height=self.spec.height,
            vae_scale=self.vae_scale,
            inpaints=self.inpaints,
            native_resolution_only=self.spec.native_resolution_only,
            folder=None if folder is None else str(folder),
        )

    @property
    def prediction_type(self) -> str:
        """What the UNet's output means: ``epsilon``, ``v_prediction`` or ``sample``."""
        return self.scheduler_config.get("prediction_type") or "epsilon"

    @property
    def live_schedule(self) -> Literal["lcm", "turbo"]:
        """How the timesteps of live pictures are chosen: as the catalogue says, else as the model was distilled.

        LCM models say so by their scheduler or their guidance embedding. Turbo models (adversarially distilled) space
        their few timesteps from the end ("trailing"). A plain model has neither and needs more steps.
        """
        if self.spec.live_schedule != "auto":
            return self.spec.live_schedule
        if "LCM" in self.scheduler_config.get("_class_name", "") or self.time_cond_width is not None:
            return "lcm"
        return "turbo" if self.scheduler_config.get("timestep_spacing") == "trailing" else "lcm"

    @property
    def latent_channels(self) -> int:
        """Channels of a latent. An inpaint UNet has more input channels (see `inpaints`) and this many outputs."""
        return self.unet.config.out_channels

    @property
    def inpaints(self) -> bool:
        """Whether the UNet takes a mask and the masked picture as further channels (9-channel inpaint models)."""
        return self.unet.config.in_channels == 2 * self.latent_channels + 1

    @property
    def vae_scale(self) -> int:
        """Pixels per latent along one side: 8 for every Stable Diffusion."""
        if hasattr(self.vae.config, "num_encoder_blocks"):  # AutoencoderTiny halves the side between its blocks
            return 2 ** (len(self.vae.config.num_encoder_blocks) - 1)
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def vae_dtype(self) -> torch.dtype:
        """What the VAE computes in; float32 where it would overflow in float16 (SDXL's own VAE)."""
        return next(self.vae.parameters()).dtype

    @property
    def time_cond_width(self) -> int | None:
        """Width of the guidance embedding that LCM-distilled UNets take as ``timestep_cond``; else None."""
        return self.unet.config.time_cond_proj_dim

    @property
    def max_tokens(self) -> int:
        """Tokens of one prompt, start and end included: 77 for every CLIP, fewer for the embedded model."""
        return min(t.model_max_length for t in self.tokenizers)

    @property
    def memory_bytes(self) -> int:
        """Bytes of all weights and buffers."""
        parts = [self.unet, self.vae, *self.text_encoders]
        return sum(t.nbytes for p in parts for t in (*p.parameters(), *p.buffers()))
