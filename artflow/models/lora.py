"""The LoRAs of one model: read when they are asked for, beside the engine, and in each call of the rows that have them.

Rows with different LoRAs and weights share one call, since an adapter's scaling is a number for each row. What computes
are peft's own layers (`adapted.py`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artflow.errors import ArtflowError
from artflow.models import lora_files, lora_weights
from artflow.models.adapted import Adapted, layers
from artflow.models.weight_loading import weight_loading_lock

if TYPE_CHECKING:
    from artflow.models.extras import Extras
    from artflow.models.families.unet import UNetModel

log = logging.getLogger(__name__)

JUST_ASKED = 5.0  # seconds for which what was asked for is not let go: who asked has no plan that holds it yet
TOLD_FOR = 10.0  # seconds for which people are told why a file cannot be used, before it is read again

Stamp = tuple[int, int]  # when a file was changed (nanoseconds), and its bytes


@dataclass
class Loaded:
    """A LoRA on the device. ``adapter`` is its name among peft's, which allows no dots."""

    adapter: str
    parts: frozenset[str]
    """Those of the model that it changes."""
    size: int
    """Bytes."""
    path: Path
    stamp: Stamp
    """The file's, as it was read."""
    asked: float
    """When it was last asked for (monotonic seconds)."""

    @property
    def current(self) -> bool:
        """Whether its file is still there, and still the one that was read."""
        return stamp_of(self.path) == self.stamp

    @property
    def of_text(self) -> bool:
        """Whether it changes what prompts are to the model."""
        return any(part in self.parts for part in lora_weights.TOWERS)


class Loras:
    """Reads LoRAs and gives the networks of a call; ``load`` is for threads that prepare, ``rows`` for those that draw.

    At most ``model.lora_budget`` bytes are kept; the least recently asked for go first, and none that a plan holds.
    """

    def __init__(self, model: UNetModel) -> None:
        self._model = model
        parts = ("unet", *lora_weights.TOWERS)
        self._networks = dict(zip(parts, map(Adapted, (model.unet, *model.text_encoders))))
        self._changing = threading.Lock()  # held while one is read
        self._lock = threading.Lock()  # what follows; held for moments
        self._loaded: dict[str, Loaded] = {}
        self._holders: list[tuple[weakref.ref[Any], frozenset[str]]] = []
        self._count = 0
        self._refused: dict[tuple[str, Stamp | None], tuple[ArtflowError, float]] = {}  # why, and when

    @property
    def loaded(self) -> dict[str, Loaded]:
        """Those on the device, by name."""
        with self._lock:
            return dict(self._loaded)

    @property
    def memory_bytes(self) -> int:
        """Bytes of all that is loaded, and of the weights that networks with adapters have for themselves."""
        own = sum(network.own_bytes for network in self._networks.values())
        return sum(one.size for one in self.loaded.values()) + own

    def hold(self, user: object, names: Iterable[str]) -> None:
        """Keep these on the device as long as ``user`` lives."""
        if names := frozenset(names):
            with self._lock:
                self._holders = [(ref, held) for ref, held in self._holders if ref() is not None]
                self._holders.append((weakref.ref(user), names))

    def for_prompts(self, names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, Stamp]]:
        """Which of these are not loaded as their files are now, and which of the rest change prompts, with stamps."""
        names, now = tuple(names), time.monotonic()
        with self._lock:
            there = {name: one for name in names if (one := self._loaded.get(name)) is not None}
            for one in there.values():
                one.asked = now
        there = {name: one for name, one in there.items() if one.current}
        of_text = {name: one.stamp for name, one in there.items() if one.of_text}
        return tuple(name for name in names if name not in there), of_text

    def load(self, names: Collection[str]) -> None:
        """Read those that are not there yet, or whose files were replaced.

        Slow; never for a thread that serves live people.

        Raises:
            ArtflowError: ``unknown_lora``, ``unsuitable_lora``, ``bad_lora``, ``lora_memory``; nothing changes then.
        """
        with self._changing:
            for name in names:
                if (one := self.loaded.get(name)) is None or not one.current:
                    self._load(name, names)

    @contextmanager
    def tower(self, part: str, weights: Sequence[Mapping[str, float]]) -> Iterator[Any]:
        """A text tower, one of `TOWERS`, for prompts of which each has LoRAs of its own."""
        with self._rows(self._networks[part], part, weights) as encoder:
            yield encoder

    @contextmanager
    def rows(self, extras: Sequence[Extras]) -> Iterator[Any]:
        """The UNet for a call by this thread, of which row i has ``extras[i]``.

        Raises:
            ArtflowError: ``lora_gone`` where one is not loaded.
        """
        with self._rows(self._networks["unet"], "unet", [dict(one.loras) for one in extras]) as unet:
            yield unet

    @contextmanager
    def _rows(self, network: Adapted, part: str, weights: Sequence[Mapping[str, float]]) -> Iterator[Any]:
        there = self.loaded
        if missing := {name for those in weights for name, weight in those.items() if weight and name not in there}:
            raise ArtflowError("lora_gone", f"The LoRA {min(missing)!r} is not loaded any more; ask for it again.")
        by_adapter = [
            {there[name].adapter: weight for name, weight in those.items() if weight and part in there[name].parts}
            for those in weights
        ]
        with network.rows(by_adapter, self._model.device, self._model.dtype) as module:
            yield module

    def _load(self, name: str, wanted: Collection[str]) -> None:
        path = lora_files.find(name, self._model.lora_folder)
        stamp = stamp_of(path)
        error, told = self._refused.get((name, stamp), (None, 0.0))
        if error is not None and time.monotonic() - told < TOLD_FOR:
            raise error.with_traceback(None)
        try:
            self._read(name, path, stamp, wanted)
        except ArtflowError as error:
            if error.code != "lora_memory":  # which costs no reading, and is over as soon as there is room
                now = time.monotonic()
                self._refused = {key: one for key, one in self._refused.items() if now - one[1] < TOLD_FOR}
                self._refused[name, stamp] = error, now
            raise

    def _read(self, name: str, path: Path, stamp: Stamp | None, wanted: Collection[str]) -> None:
        model = self._model
        of = lora_weights.check(name, path, model)
        size = sum(math.prod(shape) for shape in of.values() if len(shape) > 1) * model.dtype.itemsize  # no alphas
        self._make_room(name, size, wanted)
        with weight_loading_lock():
            weights = lora_weights.read(name, path, model)
        parts = frozenset(part for part in self._networks if weights.has(part))
        if strangers := [part for part in lora_weights.TOWERS if weights.has(part) and part not in parts]:
            raise lora_files.refused(name, f"it is for a {strangers[0]}, which this model does not have")
        self._count += 1
        adapter = f"lora{self._count}"
        with weight_loading_lock(), ExitStack() as stack:
            for part in parts:  # all of them change, or none
                changed = stack.enter_context(self._networks[part].changing())
                lora_weights.put(weights, adapter, part, changed, model.lora_loader)
        size = sum(tensor.nbytes for tensor in weights.tensors.values())
        with self._lock:
            before = self._loaded.get(name)
            self._loaded[name] = Loaded(adapter, parts, size, path, stamp or (0, 0), time.monotonic())
        if before is not None:
            self._remove(before)
        log.info("a LoRA is loaded", extra={"lora": name, "model": model.id, "bytes": size})

    def _make_room(self, name: str, size: int, wanted: Collection[str]) -> None:
        budget, now = self._model.lora_budget, time.monotonic()
        with self._lock:
            held = {one for ref, names in self._holders if ref() is not None for one in names}
            free = {
                other: one
                for other, one in self._loaded.items()
                if other not in held and other not in wanted and now - one.asked > JUST_ASKED
            }
            excess = sum(one.size for other, one in self._loaded.items() if other != name) + size - budget
            going: dict[str, Loaded] = {}
            for other in sorted(free, key=lambda other: free[other].asked):
                if excess <= 0:
                    break
                going[other] = free[other]
                excess -= free[other].size
            if excess > 0:
                sentence = (
                    f"There is no room for the LoRA {name!r} of {size / 1e6:.0f} MB: those in use fill the "
                    f"{budget / 1e6:.0f} MB that models.lora_memory_mb allows."
                )
                raise ArtflowError("lora_memory", sentence)
            for other in going:
                del self._loaded[other]
        for one in going.values():
            self._remove(one)

    def _remove(self, one: Loaded) -> None:
        for part in one.parts:
            network = self._networks[part]
            if not any(part in other.parts for other in self.loaded.values()):
                network.forget()
                continue
            with network.changing() as changed:
                for layer in layers(changed).values():
                    layer.delete_adapter(one.adapter)
                getattr(changed, "peft_config", {}).pop(one.adapter, None)


def stamp_of(path: Path) -> Stamp | None:
    """By which a file that was replaced is known; None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def as_loras(more: tuple[tuple[str, Any], ...]) -> dict[str, float]:
    """The LoRAs and weights of a condition."""
    return dict(dict(more).get("loras", ()))
