"""What the modes, the API and the pages know of a model: plain values, so that the model itself may be elsewhere."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.models.catalog import ModelSpec
from artflow.models.progress import LoadProgress

SIZES = (256, 384, 512, 640)  # pixels a side, of models that work at any size


@dataclass(frozen=True)
class ModelInfo:
    """The facts about one loaded model that decide how it is asked for pictures.

    ``width`` and ``height`` are its native size in pixels; ``vae_scale`` is the side of a latent in pixels;
    ``inpaints``: its UNet is shown a mask and the masked picture; ``native_resolution_only``: it draws well at its
    native size alone; ``live_schedule`` (``lcm``, ``turbo``, ``once``) and ``train_steps`` decide its live timesteps
    (`live_timesteps`); ``amplifies_noise``: a camera's noise shows in its pictures more than in what it is shown;
    ``folder``: where its vocabulary may lie (`load_vocabulary`), None for a model from elsewhere;
    ``text_width``: the width of text that its LoRAs are made for, None where it takes none.
    """

    id: str
    width: int
    height: int
    vae_scale: int
    inpaints: bool
    native_resolution_only: bool
    live_schedule: str
    train_steps: int
    amplifies_noise: bool
    folder: str | None
    text_width: int | None = None

    @property
    def native_size(self) -> Size:
        """The size that it was trained at."""
        return Size(self.width, self.height)


class ModelHandle(LoadProgress):
    """A model that is being loaded: how far it is, and its ``info`` once it is ready."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(f"Loading {spec.title}")
        self.spec = spec
        self.info: Future[ModelInfo] = Future()

    @property
    def failed(self) -> bool:
        """Whether the load has ended with an error; asking for the model again tries again."""
        return self.info.done() and self.info.exception() is not None

    def fail(self, error: ArtflowError) -> None:
        """End the load with an error."""
        self.message = error.message
        self.info.set_exception(error)
