"""Model files that the operator has put into ``models/checkpoints``: each is a model to choose, without an entry."""

from __future__ import annotations

import logging
from pathlib import Path

from artflow.models.catalog import ROOT, Catalog, ModelSpec, Source
from artflow.models.weights import is_unsafe

log = logging.getLogger(__name__)

FOLDER = ROOT / "models" / "checkpoints"
OF_SDXL = "conditioner.embedders.1."  # begins names of its second text tower, which no other has


def with_checkpoints(catalog: Catalog, folder: Path = FOLDER) -> Catalog:
    """The catalogue with the ``.safetensors`` files below a folder, by name, after its own models.

    Only the files' headers are read. A file that is no checkpoint, or is called as a model that is there, is left out,
    which the log says.
    """
    known = set(catalog.ids)
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if is_unsafe(path.name):
            log.warning("%s is left out: pickled weights can run code; convert it to .safetensors", path.name)
        elif path.suffix == ".safetensors" and (spec := _spec(path, path.relative_to(folder))) is not None:
            if spec.id in known:
                log.warning("%s is left out: a model is called %s already", path.name, spec.id)
            else:
                known.add(spec.id)
                found.append(spec)
    return Catalog(models=[*catalog.models, *found])


def _spec(path: Path, name: Path) -> ModelSpec | None:
    from safetensors import SafetensorError, safe_open  # only where there are such files: the page waits for this

    try:
        with safe_open(path, "np") as file:
            names = file.keys()
    except (OSError, SafetensorError) as error:
        log.warning("%s is left out: it cannot be read (%s)", path.name, error)
        return None
    side = 1024 if any(key.startswith(OF_SDXL) for key in names) else 512
    return ModelSpec(
        id=name.with_suffix("").as_posix(), name=path.stem, description="A file of models/checkpoints.",
        source=Source(file=path), width=side, height=side,
    )  # fmt: skip
