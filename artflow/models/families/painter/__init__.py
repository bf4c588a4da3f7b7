"""Painter: what the camera sees as a painting, in one step, in a style per row (1610.07629, 1705.06830)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from artflow.models.catalog import LEARNED_STYLES
from artflow.models.families.painter.any_picture import decoded
from artflow.models.families.painter.compute import OnOnnxruntime, Paint, painting_network
from artflow.models.families.painter.network import MULTIPLE, layers_of, style_size
from artflow.models.families.painter.styles import StyleFiles
from artflow.models.info import SIZES
from artflow.models.model import Condition, Model
from artflow.models.weights import refused

if TYPE_CHECKING:
    from artflow.images import Size
    from artflow.models.catalog import ModelSpec

    Tensors = Mapping[str, torch.Tensor]

FPS = 20  # that the size is chosen for
TINIEST = 1e-6  # weight that is divided by in its place where it is 0
NETWORK_SHARE = 0.7  # of the time of a frame; the rest is JPEG and the way there


@dataclass(eq=False)
class Painter(Model):
    """The two networks. A latent is the picture itself, 0 to 1.

    A row has two styles, ``style`` and ``picture``, each weighted and followed by its weight: the styles that the
    prompt names, and that of a picture. So the blend of two rows is the blend of their paintings, whatever they have
    of each.
    """

    styles: StyleFiles
    by_name: Paint
    """In the styles that have names."""
    by_picture: Paint
    """In the style of any picture."""
    projection: tuple[torch.Tensor, torch.Tensor]
    """From the vector that a picture was read as to a style of `by_picture`: a matrix and an offset."""
    weights_bytes: int

    family = "painter"

    @classmethod
    def load(cls, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> Painter:
        """The networks of a folder; on a CPU the size of the pictures is chosen by what the machine holds.

        Raises:
            ArtflowError: ``model_load_failed``.
        """
        folder = spec.source.folder
        if folder is None:
            raise refused(spec.id, "a painter comes from a folder")
        named, any_picture = (load_file(folder / f"{name}.safetensors") for name in ("painter", "any_picture"))
        projection = any_picture.pop("style.weight"), any_picture.pop("style.bias")
        model = cls(
            spec=spec,
            scheduler_config={"prediction_type": "sample"},
            device=device,
            dtype=dtype,
            styles=StyleFiles([folder / "styles", LEARNED_STYLES], style_size(layers_of(named))),
            by_name=painting_network(named, device, dtype),
            by_picture=painting_network(any_picture, device, dtype),
            projection=projection,
            weights_bytes=sum(value.nbytes for value in (*named.values(), *any_picture.values())),
        )
        if isinstance(model.by_name, OnOnnxruntime):
            side = size_for(model.by_name.seconds(SIZES[0], model.styles.size) / SIZES[0] ** 2)
            model.spec = spec.model_copy(update={"width": side, "height": side})
        return model

    # -- facts ------------------------------------------------------------------------------------------------------

    @property
    def networks(self) -> Sequence[Any]:
        """None of diffusers'."""
        return ()

    @property
    def compilable(self) -> Sequence[Any]:
        return ()

    @property
    def latent_channels(self) -> int:
        return 3

    @property
    def vae_scale(self) -> int:
        return 1

    @property
    def single_row(self) -> bool:
        """It knows no guidance."""
        return True

    @property
    def amplifies_noise(self) -> bool:
        return True

    @property
    def small_autoencoder(self) -> bool:
        return True

    @property
    def memory_bytes(self) -> int:
        return self.weights_bytes

    # -- computing --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def prepare(self, conditions: Sequence[Condition]) -> list[dict[str, torch.Tensor]]:
        """A prompt is ``id:share id:share``, as `artflow.prompts.styles` writes it; ``more`` may have a
        ``style_picture``, which then is the style by itself, or half of it where the prompt names others.

        Raises:
            ArtflowError: ``unknown_style``, ``bad_style``, ``bad_parameter`` for what is no style of a picture.
        """
        return [self._styles_of(condition) for condition in conditions]

    def _styles_of(self, condition: Condition) -> dict[str, torch.Tensor]:
        shares = [(style, float(share)) for style, _, share in (p.rpartition(":") for p in condition.prompt.split())]
        named = sum(share for _, share in shares)
        matrix, offset = self.projection
        picture, share = torch.zeros(len(offset)), 0.0
        if text := dict(condition.more).get("style_picture"):
            picture, share = matrix @ decoded(str(text)) + offset, 0.5 if named else 1.0
        elif not named:
            shares, named = [(style, 1.0) for style, _ in shares], len(shares)
        mixed = torch.zeros(self.styles.size)
        if named:
            for style, part in shares:
                mixed += part / named * self.styles.get(style)
        both = {"style": _weighted(mixed, 1 - share), "picture": _weighted(picture, share)}
        return {name: value.to(self.device) for name, value in both.items()}

    def inputs(self, prepared: Tensors, size: Size, guidance: float) -> dict[str, torch.Tensor]:
        return dict(prepared)

    def predict(self, latents: torch.Tensor, timesteps: torch.Tensor, inputs: Tensors) -> torch.Tensor:
        """The paintings, 0 to 1. Sides that the network cannot halve twice are carried on by reflection meanwhile."""
        height, width = latents.shape[2:]
        more = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        pixels = F.pad(latents, more, mode="reflect") if any(more) else latents
        painted = torch.zeros_like(pixels)
        for paint, styles in ((self.by_name, inputs["style"]), (self.by_picture, inputs["picture"])):
            weights = styles[:, -1]
            # A GPU would be waited for if it were asked which rows want this network.
            rows: torch.Tensor | slice = slice(None)
            if self.device.type == "cpu":
                rows = weights.nonzero().flatten()
                if not len(rows):
                    continue
            share = weights[rows]
            made = paint(pixels[rows], styles[rows, :-1] / share.clamp(min=TINIEST)[:, None])
            painted[rows] += made * share[:, None, None, None]
        return painted[..., :height, :width]

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.permute(0, 3, 1, 2).float().div_(255)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents * 2 - 1


def _weighted(style: torch.Tensor, weight: float) -> torch.Tensor:
    """A style that can be blended with others: times its weight, and followed by it."""
    return torch.cat([style * weight, torch.tensor([weight])])


def size_for(seconds_a_pixel: float) -> int:
    """The largest of `SIZES` that a machine paints `FPS` times a second beside what else a frame takes."""
    budget = NETWORK_SHARE / FPS
    return max((side for side in SIZES if side**2 * seconds_a_pixel <= budget), default=SIZES[0])
