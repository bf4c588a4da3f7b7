"""The styles of the painter that the app's model leaves them to: shown, read from a picture, and learned."""

from __future__ import annotations

import threading
from pathlib import Path

from artflow.errors import ArtflowError
from artflow.images import Picture
from artflow.job_context import Errand, JobContext
from artflow.models.catalog import Catalog, ModelSpec
from artflow.modes import learned_styles, style_strip


class PainterStyles:
    """Safe from any thread; ``errand`` computes where the device is (`EngineClient.errand`)."""

    def __init__(self, spec: ModelSpec, catalog: Catalog, device: str, errand: Errand) -> None:
        self._spec, self._catalog, self._device, self._errand = spec, catalog, device, errand
        self._learning = threading.Lock()

    @property
    def painter(self) -> ModelSpec | None:
        """The model that paints in named styles, where the prompt can choose it."""
        return self._catalog.get(self._spec.styles_by) if self._spec.styles_by is not None else None

    def sheet(self, picture: Picture) -> style_strip.Sheet:
        """The picture in all of the painter's styles, small.

        Raises:
            ArtflowError: ``no_painter``.
        """
        sheet: style_strip.Sheet = self._errand(style_strip.painted, picture, self._folder, self._device)
        return sheet

    @property
    def size(self) -> int:
        """The numbers of a style."""
        return style_strip.style_size_of(self._folder)

    @property
    def _folder(self) -> Path:
        folder = self.painter.source.folder if self.painter is not None else None
        if folder is None:
            raise ArtflowError("no_painter", f"{self._spec.title} leaves no styles to a painter.")
        return folder

    def read(self, picture: Picture) -> str:
        """The style of any picture, as the live parameter ``style_picture`` takes it.

        Raises:
            ArtflowError: ``picture_too_small``.
        """
        from artflow.models.families.painter.any_picture import read_style

        style: str = self._errand(read_style, picture, long=True)
        return style

    def learn(self, picture: Picture, name: str, context: JobContext | None = None) -> str:
        """Learn the style of a picture in minutes (`learned_styles.learn`); its id. One at a time.

        Raises:
            ArtflowError: ``no_painter``, ``busy``; ``bad_name``, ``name_taken``, ``bad_style``.
            Cancelled: before the next update.
        """
        context, folder = context or JobContext(), self._folder
        if not self._learning.acquire(blocking=False):
            raise ArtflowError("busy", "Another style is being learned; one at a time, so try again in some minutes.")
        try:
            return learned_styles.learn(picture, name, folder, context)
        finally:
            self._learning.release()
