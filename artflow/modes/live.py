"""The base of the live modes (webcam, canvas, live inpaint)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from artflow.engine.params import LiveParams
from artflow.engine.stream_policy import StreamPolicy
from artflow.models.catalog import ModelSpec
from artflow.modes.schema import merged
from artflow.settings import LiveSettings


@dataclass(frozen=True)
class LiveMode:
    """One live mode: its frame flow and its default parameters."""

    name: str
    title: str
    description: str
    policy: StreamPolicy
    defaults: Mapping[str, Any] = field(default_factory=dict)
    kind: type[LiveParams] = LiveParams

    def params(self, spec: ModelSpec, settings: LiveSettings) -> LiveParams:
        """The parameters a session starts with: mode < model < the operator's settings.

        Raises:
            ArtflowError: ``bad_parameter`` if the catalog or the settings have an unknown or bad parameter.
        """
        of_model = getattr(spec.defaults, self.name)
        performance = settings.performance.model_dump()
        return merged(self.kind, self.defaults, of_model, performance, settings.generation)
