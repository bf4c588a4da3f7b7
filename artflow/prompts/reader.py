"""Who reads a prompt for a model that does not understand every word."""

from __future__ import annotations

from typing import Any, Protocol

from artflow.models.catalog import ModelSpec
from artflow.prompts.styles import StyleReader
from artflow.prompts.vocabulary import Reading, load_vocabulary


class PromptReader(Protocol):
    """Puts prompts into the words of one model."""

    def read(self, prompt: str) -> Reading:
        """The prompt as the model gets it, and the words in it that it does not know."""
        ...

    def facts(self, prompt: str) -> dict[str, Any]:
        """What a recipe says of the words that were really used: nothing where they are the prompt itself."""
        ...


def reader_of(spec: ModelSpec) -> PromptReader | None:
    """The reader of a model; None where its text encoder reads everything."""
    return StyleReader() if spec.family == "painter" else load_vocabulary(spec.source.folder)
