"""What a loaded model is to the engine: rows in, predictions out, and the facts that plans are made with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from artflow.models.control_catalog import load_controls
from artflow.models.extras import Extras
from artflow.models.info import ModelInfo

if TYPE_CHECKING:
    import torch

    from artflow.images import Size
    from artflow.models.catalog import ModelSpec

    Tensors = Mapping[str, torch.Tensor]


class Condition(NamedTuple):
    """What a picture is asked to show, as a value that can be cached and compared.

    ``more`` holds whatever else a family understands (a style, an image prompt), as pairs of a name and a hashable;
    ``loras`` are pairs of a name and a weight.
    """

    prompt: str
    negative: bool = False
    more: tuple[tuple[str, Hashable], ...] = ()


@dataclass(eq=False)
class Model(ABC):
    """One copy of a model's weights, shared by all sessions; each family is a subclass. Nothing in here belongs to a
    person.

    A latent is float32 of shape (channels, height, width) outside of the model, whatever it computes in. All tensors
    that methods take and return are batches on ``device``.
    """

    family: ClassVar[str]

    spec: ModelSpec
    scheduler_config: dict[str, Any]
    """The diffusers scheduler config: betas, ``trained_betas``, ``prediction_type``, ``timestep_spacing`` ..."""
    device: torch.device
    dtype: torch.dtype
    notes: list[str] = field(default_factory=list, kw_only=True)
    """What people should know of how it was loaded: each fallback, and why."""
    lora_folder: Path = field(default=Path("models/loras"), kw_only=True)
    """Where LoRAs are looked for, beside those of the app."""
    lora_budget: int = field(default=2**30, kw_only=True)
    """Bytes of LoRAs that are kept on the device."""
    control_networks: dict[str, Any] = field(default_factory=dict, kw_only=True)
    """Networks by which rows can be steered (`Control`), by their ids: loaded when somebody first asks for them."""

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
            live_schedule=self.live_schedule,
            train_steps=len(self.scheduler_config.get("trained_betas") or ())
            or int(self.scheduler_config.get("num_train_timesteps", 1000)),
            amplifies_noise=self.amplifies_noise,
            folder=None if folder is None else str(folder),
            text_width=self.text_width,
            control_kinds=load_controls().kinds_of(self.control_family),
        )

    @property
    def prediction_type(self) -> str:
        """What a prediction means: ``epsilon``, ``v_prediction`` or ``sample``."""
        return self.scheduler_config.get("prediction_type") or "epsilon"

    def prediction_type_for(self, asked: str) -> str:
        """The same where ``asked`` is ``auto``; else what is asked, since some files say nothing of it."""
        return self.prediction_type if asked == "auto" else asked

    @property
    def live_schedule(self) -> Literal["lcm", "turbo", "once"]:
        """How the timesteps of live pictures are chosen: as the catalogue says, else as the model was distilled.

        LCM models say so by their scheduler or their guidance embedding. Turbo models (adversarially distilled) space
        their few timesteps from the end ("trailing"). A plain model has neither and needs more steps.
        """
        if self.spec.live_schedule != "auto":
            return self.spec.live_schedule
        if "LCM" in self.scheduler_config.get("_class_name", "") or self.single_row:
            return "lcm"
        return "turbo" if self.scheduler_config.get("timestep_spacing") == "trailing" else "lcm"

    @property
    def single_row(self) -> bool:
        """Whether it never needs an unconditional row: it is told the guidance scale (LCM models), or has none."""
        return False

    @property
    def text_width(self) -> int | None:
        """The width of the text that it is shown, which LoRAs must be made for; None: it takes none."""
        return None

    @property
    def amplifies_noise(self) -> bool:
        """Whether a camera's noise shows in its pictures more than in what it is shown."""
        return False

    @property
    def inpaints(self) -> bool:
        """Whether it is shown a mask and the picture without what is under it, as 9-channel UNets are."""
        return False

    @property
    def control_family(self) -> str | None:
        """The family of `ControlCatalog` whose networks can steer it."""
        return None

    @property
    def small_autoencoder(self) -> bool:
        """Whether encoding and decoding is so little work that launching it counts: then it is recorded, too."""
        return False

    def pictures_at_once(self, pixels: int) -> int:
        """How many pictures of so many pixels are encoded or decoded in one call, for the sake of memory."""
        return max(1, 64 * 512**2 // pixels)

    def use_float32_decoder(self) -> bool:
        """Decode in float32 from now on, where that is not done already; returns whether that changed anything."""
        return False

    def latent_shape(self, size: Size) -> tuple[int, int, int]:
        """(channels, height, width) of the latent of a picture of this size in pixels."""
        return self.latent_channels, size.height // self.vae_scale, size.width // self.vae_scale

    @property
    @abstractmethod
    def networks(self) -> Sequence[Any]:
        """The diffusers modules that are run for every picture; their weights may be packed."""

    @property
    @abstractmethod
    def compilable(self) -> Sequence[Any]:
        """The modules whose ``forward`` is worth compiling."""

    @property
    @abstractmethod
    def latent_channels(self) -> int:
        """Channels of a latent."""

    @property
    @abstractmethod
    def vae_scale(self) -> int:
        """Pixels a latent, along one side: 8 for every Stable Diffusion."""

    @property
    @abstractmethod
    def memory_bytes(self) -> int:
        """Bytes of all weights and buffers."""

    def essential(self, condition: Condition) -> Condition:
        """The same without what makes no difference to `prepare`: what it is kept under."""
        return condition

    def hold(self, user: object, loras: Iterable[str]) -> None:  # noqa: B027 - most families have none
        """Keep LoRAs that have been prepared as long as ``user`` lives."""

    @abstractmethod
    def prepare(self, conditions: Sequence[Condition]) -> list[dict[str, torch.Tensor]]:
        """Encode what pictures are asked to show, as named tensors without a batch dimension: one call for all."""

    @abstractmethod
    def inputs(self, prepared: Tensors, size: Size, guidance: float) -> dict[str, torch.Tensor]:
        """All named tensors of a row: the prepared ones, and those that follow from its size and guidance scale."""

    @abstractmethod
    def predict(self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Tensors) -> torch.Tensor:
        """The network's raw outputs, float32: latents (n, channels, height, width), timesteps (n,), inputs (n, ...)."""

    def predict_with(
        self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Tensors, extras: Sequence[Extras]
    ) -> torch.Tensor:
        """As `predict`, with what rows have of their own: ``extras[i]`` is that of row i; at least one has some."""
        raise NotImplementedError(f"{type(self).__name__} knows no extras")

    @abstractmethod
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pictures, uint8 of shape (n, height, width, 3), to latents, float32."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents, float32, to pictures in floating point: (n, 3, height, width), -1 to 1, and beyond it at times."""
