"""ArtFlow's own metadata: the recipe as one JSON object, under the name ``artflow``."""

from __future__ import annotations

import json
from typing import Any

from artflow.metadata.values import Metadata, json_object


def read(text: str) -> Metadata | None:
    """The recipe in a picture's ``artflow`` text; None where there is none."""
    recipe = json_object(text)
    if recipe is None:
        return None
    values = {key: value for key, value in recipe.items() if key != "mode"}
    mode = recipe.get("mode")
    return Metadata("ArtFlow", mode if isinstance(mode, str) and mode else "text", values)


def text(recipe: dict[str, Any]) -> str:
    """The recipe as the JSON text of a picture."""
    return json.dumps(recipe, ensure_ascii=False)
