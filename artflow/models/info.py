"""What the modes, the API and the pages know of a loaded model: plain values, so that the model may be elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from artflow.images import Size


@dataclass(frozen=True)
class ModelInfo:
    """The facts about one loaded model that decide how it is asked for pictures.

    ``width`` and ``height`` are its native size in pixels; ``vae_scale`` is the side of a latent in pixels;
    ``inpaints``: its UNet is shown a mask and the masked picture; ``native_resolution_only``: it draws well at its
    native size alone; ``folder``: where its vocabulary may lie (`load_vocabulary`), None for a model from elsewhere.
    """

    id: str
    width: int
    height: int
    vae_scale: int
    inpaints: bool
    native_resolution_only: bool
    folder: str | None

    @property
    def native_size(self) -> Size:
        """The size that it was trained at."""
        return Size(self.width, self.height)
