"""What Stable Diffusion models have in common: text towers, a UNet and an autoencoder, as diffusers has them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import AutoencoderTiny

from artflow.models.control import residuals
from artflow.models.control_catalog import load_controls
from artflow.models.dtypes import memory_format
from artflow.models.families.checkpoint import CheckpointKind, Shapes
from artflow.models.lora import Loras, as_loras
from artflow.models.lora_weights import TOWERS
from artflow.models.model import Condition, Model
from artflow.models.parts import Parts
from artflow.models.weights import refused

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from artflow.images import Size
    from artflow.models.catalog import ModelSpec
    from artflow.models.extras import Extras

Tensors = Mapping[str, torch.Tensor]

TILED_FROM = (
    1536**2
)  # pixels of a picture from which on AutoencoderKL works in tiles: a layer of it takes 2.4 GB, float32
TILE = 1024  # pixels, the side of a tile


@dataclass(eq=False)
class UNetModel(Model):
    """A latent diffusion model of diffusers' classes.

    Rows have the inputs ``text`` (tokens, width); ``guidance`` (width,) where the guidance scale is embedded; and
    ``inpaint`` (1 + channels, height, width) where the UNet is shown a mask and a masked picture.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderTiny | AutoencoderKL
    tokenizers: list[Any]
    """``CLIPTokenizer``: one for sd, two for sdxl."""
    text_encoders: list[Any]
    """``CLIPTextModel``; for sdxl a ``CLIPTextModelWithProjection`` as well."""

    lora_loader: ClassVar[Any]
    """diffusers' class that reads LoRAs for the family."""
    tiny_vae: ClassVar[str]
    """The small autoencoder on the Hub for the family's latents, where a model comes without one."""

    # -- loading ----------------------------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, parts: Parts) -> bool:
        """Whether these parts are a model of this family."""
        raise NotImplementedError

    @classmethod
    def check(cls, spec: ModelSpec, parts: Parts) -> None:
        """Refuse what this family cannot run.

        Raises:
            ArtflowError: ``model_load_failed``, with the reason.
        """
        # "text": the UNet pools the prompt's own tokens, so it needs nothing more from us.
        known = (None, "text", "text_time")
        if parts.unet.config.addition_embed_type not in known or parts.unet.config.class_embed_type is not None:
            raise refused(spec.id, "its UNet takes conditions that neither Stable Diffusion 1, 2 nor SDXL has")

    @classmethod
    def checkpoint_kind(cls, model: str, shapes: Shapes) -> CheckpointKind | None:
        """How a single file with these tensors is read; None where it is not of this family.

        Raises:
            ArtflowError: ``model_load_failed`` where it is, and ``model`` cannot make pictures.
        """
        raise NotImplementedError

    @classmethod
    def vae_dtype_for(cls, vae: Any, dtype: torch.dtype) -> torch.dtype:
        """What the autoencoder is to compute in where the rest computes in ``dtype``."""
        return dtype

    # -- facts ------------------------------------------------------------------------------------------------------

    @property
    def networks(self) -> Sequence[Any]:
        return self.unet, self.vae

    @property
    def compilable(self) -> Sequence[Any]:
        return self.unet, self.vae.decoder

    @property
    def latent_channels(self) -> int:
        """Channels of a latent. An inpaint UNet takes more (see `inpaints`) and gives these."""
        return self.unet.config.out_channels

    @property
    def inpaints(self) -> bool:
        return self.unet.config.in_channels == 2 * self.latent_channels + 1

    @property
    def vae_scale(self) -> int:
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
    def single_row(self) -> bool:
        return self.time_cond_width is not None

    @property
    def max_tokens(self) -> int:
        """Tokens of one prompt, start and end included: 77 for every CLIP, fewer for the embedded model."""
        return min(t.model_max_length for t in self.tokenizers)

    @property
    def memory_bytes(self) -> int:
        parts = [self.unet, self.vae, *self.text_encoders, *self.control_networks.values()]
        return sum(t.nbytes for p in parts for t in (*p.parameters(), *p.buffers())) + self.loras.memory_bytes

    @property
    def text_width(self) -> int | None:
        return self.unet.config.cross_attention_dim

    @cached_property
    def loras(self) -> Loras:
        """Those that have been asked for."""
        return Loras(self)

    @property
    def control_family(self) -> str | None:
        return load_controls().family_of(self.unet.config.cross_attention_dim)

    @property
    def small_autoencoder(self) -> bool:
        return isinstance(self.vae, AutoencoderTiny)

    def pictures_at_once(self, pixels: int) -> int:
        """AutoencoderKL's widest layer takes 256 channels at full size: 1 GB for a picture of 1024 x 1024, float32."""
        return max(1, (64 if isinstance(self.vae, AutoencoderTiny) else 4) * 512**2 // pixels)

    def use_float32_decoder(self) -> bool:
        if self.vae_dtype != torch.float16:
            return False
        self.vae.to(torch.float32)
        return True

    # -- computing --------------------------------------------------------------------------------------------------

    def essential(self, condition: Condition) -> Condition:
        """LoRAs that are loaded and for the UNet alone change no prompt; those that are not must be read first."""
        if not (loras := as_loras(condition.more)):
            return condition
        unread, stamps = self.loras.for_prompts(loras)
        more = [(name, value) for name, value in condition.more if name not in ("loras", "unread", "stamps")]
        of_text = {name: weight for name, weight in loras.items() if weight and name in stamps}
        more += [("unread", unread)] if unread else []
        more += [("loras", tuple((loras if unread else of_text).items()))] if unread or of_text else []
        more += [("stamps", tuple(stamps[name] for name in of_text))] if of_text else []  # of the files
        return condition._replace(more=tuple(more))

    def hold(self, user: object, loras: Iterable[str]) -> None:
        self.loras.hold(user, loras)

    @torch.inference_mode()
    def prepare(self, conditions: Sequence[Condition]) -> list[dict[str, torch.Tensor]]:
        """The prompts' embeddings, cut at the tokenizer's length."""
        (output,) = self.encode_texts(conditions)
        return [{"text": tokens} for tokens in output[0].to(self.dtype)]

    def encode_texts(self, conditions: Sequence[Condition], *, hidden: bool = False) -> list[Any]:
        """What each text tower gives for these prompts, with their LoRAs, which are read here where they are new;
        ``hidden`` asks for its hidden states, too."""
        texts, loras = [condition.prompt for condition in conditions], [as_loras(c.more) for c in conditions]
        self.loras.load({name: None for those in loras for name in those})
        outputs = []
        for part, tokenizer in zip(TOWERS, self.tokenizers, strict=False):  # sd has the first alone
            length = tokenizer.model_max_length
            options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
            ids = tokenizer(texts, **options).input_ids.to(self.device)
            with self.loras.tower(part, loras) as encoder:
                outputs.append(encoder(ids, output_hidden_states=hidden))
        return outputs

    def inputs(self, prepared: Tensors, size: Size, guidance: float) -> dict[str, torch.Tensor]:
        """The text, and an embedded guidance scale."""
        if self.time_cond_width is None:
            return dict(prepared)
        embedding = guidance_embedding(torch.tensor([guidance - 1]), self.time_cond_width)[0]
        return {**prepared, "guidance": embedding.to(self.device, self.dtype)}

    def predict(self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Tensors) -> torch.Tensor:
        return self._predicted(self.unet, latents, timesteps, inputs, {})

    def predict_with(
        self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Tensors, extras: Sequence[Extras]
    ) -> torch.Tensor:
        added = residuals(self, latents, timesteps, inputs, extras)
        with self.loras.rows(extras) as unet:
            return self._predicted(unet, latents, timesteps, inputs, added)

    def _predicted(
        self,
        unet: UNet2DConditionModel,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        inputs: Tensors,
        added: Mapping[str, Any],
    ) -> torch.Tensor:
        """``added`` are further arguments of the UNet."""
        if self.inpaints:
            latents = torch.cat([latents, inputs["inpaint"]], dim=1)
        return unet(
            latents.to(self.dtype).contiguous(memory_format=memory_format(self.device)),
            timesteps,
            encoder_hidden_states=inputs["text"],
            timestep_cond=inputs.get("guidance"),
            added_cond_kwargs=self.added_conditions(inputs),
            return_dict=False,
            **added,
        )[0].float()

    def added_conditions(self, inputs: Tensors) -> dict[str, torch.Tensor] | None:
        """diffusers' ``added_cond_kwargs`` for these rows."""
        return None

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """AutoencoderKL gives the mean of its posterior, so that the same frame is the same latent."""
        vae = self._vae_for(pixels.shape[1] * pixels.shape[2])
        pixels = pixels.permute(0, 3, 1, 2).to(self.vae_dtype).div_(127.5).sub_(1)
        tiny = isinstance(vae, AutoencoderTiny)
        latents = vae.encode(pixels).latents if tiny else vae.encode(pixels).latent_dist.mode()
        return (latents.float() - self._shift) * vae.config.scaling_factor

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self._vae_for(latents.shape[2] * latents.shape[3] * self.vae_scale**2)
        latents = (latents / vae.config.scaling_factor + self._shift).to(self.vae_dtype)
        latents = latents.contiguous(memory_format=memory_format(self.device))
        return vae.decode(latents, return_dict=False)[0].float()

    def _vae_for(self, pixels: int) -> AutoencoderTiny | AutoencoderKL:
        """The autoencoder for pictures of so many pixels; in tiles only where it must, as these may differ."""
        return self.vae if self.small_autoencoder or pixels < TILED_FROM else self._tiling_vae

    @cached_property
    def _tiling_vae(self) -> AutoencoderKL:
        """The same modules and weights. A switch on the one object would act on what another thread is decoding."""
        vae = copy.copy(self.vae)
        vae.enable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = TILE, TILE // self.vae_scale
        return vae

    @property
    def _shift(self) -> float:
        return getattr(self.vae.config, "shift_factor", None) or 0.0


def guidance_embedding(scales: torch.Tensor, width: int) -> torch.Tensor:
    """The sinusoidal embedding of guidance scale minus one: (batch,) to (batch, width) (2310.04378, section 4.3)."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000.0) / (half - 1)))
    angles = scales[:, None] * 1000 * frequencies[None]
    embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(embedding, (0, width - 2 * half))
