"""Reads the lists of ``presets/``: YAML files, checked by a model of pydantic."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from artflow.errors import ArtflowError

M = TypeVar("M", bound=BaseModel)


def read_preset(path: Path, kind: type[M], code: str) -> M:
    """What a file holds, as a ``kind``.

    Raises:
        ArtflowError: ``code``, with the place and the reason.
    """
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ArtflowError(code, f"{path}: {place}: {first['msg']}.") from error
    except (OSError, yaml.YAMLError) as error:
        raise ArtflowError(code, f"{path} could not be read: {error}.") from error
