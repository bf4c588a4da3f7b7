"""Downloads from the Hub: only the files that are needed, with one progress over all; none if they are cached.

``HF_ENDPOINT``, ``HF_HOME``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` mean what they mean to ``huggingface_hub``.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
from huggingface_hub import HfApi, constants, errors, snapshot_download
from tqdm import tqdm

from artflow.errors import ArtflowError
from artflow.models.progress import no_progress
from artflow.models.weights import PARTS, STEMS, choose_weights, require_weights

OnProgress = Callable[[str, float | None], None]
Chooser = Callable[[Collection[str]], list[str]]
Checker = Callable[[Collection[str]], bool]

TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
TIMEOUT = 10.0


def download(
    repo: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    skip: Collection[str] = (),
    admit: Callable[[Mapping[str, int]], None] = lambda _: None,
    on_progress: OnProgress = no_progress,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """The local folder of a Stable Diffusion repository, downloaded if it is not in the cache.

    Takes the index, configs, tokenizers and for each part one set of safetensors (``variant`` if the repository has
    it); parts named in ``skip`` are left out. ``admit`` is told the files and their sizes before anything is
    downloaded, and may raise. ``on_progress`` gets a message and the fraction of all bytes. A cut
    download goes on where it stopped. Raises ``ArtflowError``: ``download_failed``, ``unsafe_weights``.
    """

    def choose(names: Collection[str]) -> list[str]:
        return choose_files(repo, names, variant, skip)

    def complete(names: Collection[str]) -> bool:
        return is_complete(names, variant, skip)

    return _fetch(repo, revision, choose, complete, on_progress, endpoint, cache_dir, admit=admit)


def download_network(
    repo: str,
    part: str,
    *,
    admit: Callable[[Mapping[str, int]], None] = lambda _: None,
    on_progress: OnProgress = no_progress,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """The local folder of a repository that is just one network; otherwise as `download`.

    ``part`` says which kind: ``vae``, as ``madebyollin/taesd`` is, or ``controlnet``.
    """

    def choose(names: Collection[str]) -> list[str]:
        _, files = require_weights(repo, part, [n for n in names if "/" not in n], None)
        return ["config.json", *files]

    def complete(names: Collection[str]) -> bool:
        return "config.json" in names and choose_weights(names, STEMS[part], None) is not None

    return _fetch(repo, None, choose, complete, on_progress, endpoint, cache_dir, admit=admit)


def download_file(
    repo: str,
    name: str,
    *,
    largest: int,
    on_progress: OnProgress = no_progress,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """The local path of one file, of ``largest`` bytes at most, of a public repository; otherwise as `download`.

    The operator's token is not used, since users may name the file.
    """

    def choose(names: Collection[str]) -> list[str]:
        if name not in names:
            raise ArtflowError("download_failed", f"{repo} has no file {name}.")
        return [name]

    def complete(names: Collection[str]) -> bool:
        return name in names

    return _fetch(repo, None, choose, complete, on_progress, endpoint, cache_dir, token=False, largest=largest) / name


def download_clip(
    repo: str,
    *,
    tokenizer: bool = True,
    on_progress: OnProgress = no_progress,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """The local folder of a repository that is just a CLIP model, as ``openai/clip-vit-large-patch14`` is.

    With ``tokenizer=False`` it may be an image tower alone, such as a safety checker.
    """

    def choose(names: Collection[str]) -> list[str]:
        _, files = require_weights(repo, "clip", [n for n in names if "/" not in n], None)
        return sorted({"config.json", "preprocessor_config.json", *TOKENIZER_FILES, *files} & set(names))

    def complete(names: Collection[str]) -> bool:
        return {"config.json", "preprocessor_config.json"} <= set(names) and (
            choose_weights(names, STEMS["clip"], None) is not None and (_has_tokenizer(names) or not tokenizer)
        )

    return _fetch(repo, None, choose, complete, on_progress, endpoint, cache_dir)


def _has_tokenizer(names: Collection[str], folder: str = "") -> bool:
    return f"{folder}tokenizer.json" in names or {f"{folder}vocab.json", f"{folder}merges.txt"} <= set(names)


def choose_files(repo: str, names: Iterable[str], variant: str | None, skip: Collection[str] = ()) -> list[str]:
    """The files to download, out of the ``names`` (paths) of all files of a repository."""
    names = set(names)
    if "model_index.json" not in names:
        raise ArtflowError(
            "download_failed",
            f"{repo} is not a diffusers pipeline (it has no model_index.json), so it is not loaded.",
        )
    chosen = {"model_index.json", "scheduler/scheduler_config.json"}
    chosen |= {f"{folder}/{name}" for folder in ("tokenizer", "tokenizer_2") for name in TOKENIZER_FILES}
    for part in PARTS:
        inside = _inside(part, names)
        if not inside or part in skip:
            continue
        _, files = require_weights(repo, part, inside, variant)
        chosen |= {f"{part}/{name}" for name in ("config.json", *files)}
    return sorted(chosen & names)


def is_complete(names: Iterable[str], variant: str | None, skip: Collection[str] = ()) -> bool:
    """Whether these files (paths) are all that the loader needs."""
    names = set(names)
    parts = [p for p in PARTS if _inside(p, names) and p not in skip]
    tokenizers = [t for t in ("tokenizer", "tokenizer_2") if _inside(t, names)]
    return (
        {"model_index.json", "scheduler/scheduler_config.json"} <= names
        and ({"unet", "vae"} - set(skip)) <= set(parts)
        and len(tokenizers) == sum(p.startswith("text_encoder") for p in parts) > 0
        and all(f"{p}/config.json" in names and choose_weights(_inside(p, names), STEMS[p], variant) for p in parts)
        and all(_has_tokenizer(names, f"{t}/") for t in tokenizers)
    )


def _inside(folder: str, names: Iterable[str]) -> list[str]:
    return [n.removeprefix(f"{folder}/") for n in names if n.startswith(f"{folder}/")]


def _fetch(
    repo: str,
    revision: str | None,
    choose: Chooser,
    complete: Checker,
    on_progress: OnProgress,
    endpoint: str | None,
    cache_dir: Path | None,
    *,
    token: Literal[False] | None = None,
    largest: int | None = None,
    admit: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> Path:
    where: dict[str, Any] = {
        "repo_id": repo,
        "revision": revision,
        "cache_dir": cache_dir,
        "endpoint": endpoint,
        "token": token,
    }
    try:
        folder = Path(snapshot_download(**where, local_files_only=True, allow_patterns=[]))
        if complete(files_in(folder)):
            return folder
    except errors.LocalEntryNotFoundError:
        pass
    on_progress(f"Looking for {repo}", 0.0)
    endpoint = endpoint or constants.ENDPOINT
    try:
        info = HfApi(endpoint=endpoint, token=token).model_info(repo, revision=revision, timeout=TIMEOUT)
        wanted = choose([s.rfilename for s in info.siblings or []])
        plan = snapshot_download(**where, allow_patterns=wanted, dry_run=True, tqdm_class=_bar(lambda _: None))
        total = sum(f.file_size or 0 for f in plan if f.will_download)
        if largest is not None and total > largest:
            sizes = f"{total / 1e6:.0f} MB; at most {largest / 1e6:.0f} MB are fetched"
            raise ArtflowError("download_failed", f"{repo}/{', '.join(wanted)} has {sizes}.")
        admit({f.filename: f.file_size or 0 for f in plan})
        _check_disk(repo, total, Path(cache_dir or constants.HF_HUB_CACHE))
        bar = _bar(lambda done: on_progress(_message(repo, done, total), done / total if total else 1.0))
        folder = Path(snapshot_download(**where, allow_patterns=wanted, tqdm_class=bar))
    except ArtflowError:
        raise
    except Exception as error:  # networks fail in more ways than a list of classes could name
        raise ArtflowError("download_failed", _sentence(repo, revision, endpoint, error)) from error
    on_progress(f"Downloaded {repo}", 1.0)
    return folder


def _check_disk(repo: str, size: int, cache: Path) -> None:
    while not cache.exists():
        cache = cache.parent
    if size > (free := shutil.disk_usage(cache).free):
        sentence = f"{repo} has {size / 1e6:.0f} MB to download, and {free / 1e6:.0f} MB of disk are free."
        raise ArtflowError("download_failed", sentence)


def files_in(folder: Path) -> set[str]:
    """The paths of all files in a folder and below it, relative to it."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def _message(repo: str, done: float, total: int) -> str:
    return f"Downloading {repo}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"


def _bar(report: Callable[[float], None]) -> type:
    """A progress bar class that prints nothing and reports the bytes that arrived over all files."""

    class Bytes(tqdm):
        monitor_interval = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"file": io.StringIO(), "disable": False})

        def display(self, *args: Any, **kwargs: Any) -> None:
            pass

        def update(self, n: float | None = 1) -> None:
            super().update(n)
            if self.unit == "B":
                report(self.n)

    return Bytes


def _unreachable(error: BaseException | None) -> bool:
    """Whether the error or one of its causes is a missing connection, whichever library raised it."""
    while error is not None:
        if isinstance(error, httpx.TransportError | ConnectionError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _sentence(repo: str, revision: str | None, endpoint: str, error: Exception) -> str:
    """The error as one sentence for the user who chose this model."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, errors.HfHubHTTPError | errors.OfflineModeIsEnabled):
        cause = cause.__cause__
    match cause or error:
        case errors.OfflineModeIsEnabled():
            return f"{repo} is not downloaded yet, and HF_HUB_OFFLINE forbids to do it now."
        case errors.GatedRepoError():
            return f"{repo} asks for its licence to be accepted on {endpoint}; do that, and set HF_TOKEN."
        case errors.RepositoryNotFoundError():
            return f"There is no repository {repo} on {endpoint} (or it is private and HF_TOKEN does not open it)."
        case errors.RevisionNotFoundError():
            return f"{repo} on {endpoint} has no revision {revision or 'main'}."
        case errors.HfHubHTTPError() as refused:
            return f"{repo} could not be downloaded: {endpoint} answered {refused.response.status_code}."
    if _unreachable(error):
        return f"{repo} could not be downloaded: {endpoint} cannot be reached."
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"{repo} could not be downloaded from {endpoint}: {reason}."
