"""Control in the engine: networks that are loaded when somebody first asks for them, and what rows get of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from artflow.engine.threads import with_threads
from artflow.engine.transfer import stream, upload_pictures
from artflow.errors import ArtflowError, inner_error
from artflow.models.control_catalog import check_kinds, load_controls, network_id
from artflow.models.extras import Control

if TYPE_CHECKING:
    from artflow.engine.control_unit import ControlPicture
    from artflow.models.catalog import Source
    from artflow.models.model import Model

log = logging.getLogger(__name__)

MOST_KEPT = 6  # networks of a model
TOLD_FOR = 30.0  # seconds for which people are told why a network cannot be had, before it is tried again


class Controls:
    """The networks of one model. ``ready`` is for the engine's threads, which never wait for one.

    `MOST_KEPT` are kept, those that were asked for last. A row of one that is gone is an error of its picture.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}  # who is to hear of a network that is loaded
        self._failed: dict[str, tuple[ArtflowError, float]] = {}  # why, and when
        self._asked: dict[str, float] = {}  # when

    def ready(self, kinds: Iterable[str], wake: Callable[[], None]) -> bool:
        """Whether the networks of these kinds are there. Those that are not are loaded; ``wake`` is called then.

        Raises:
            ArtflowError: ``unknown_control``, or why one cannot be had.
        """
        wanted = [self._source(kind) for kind in dict.fromkeys(kinds)]
        missing = [source for source in wanted if not self._has(source)]
        with self._lock:
            self._asked |= dict.fromkeys(map(network_id, wanted), time.monotonic())
            for source in missing:
                self._ask_for(source, wake)
        return not missing

    def here(self, kinds: Iterable[str]) -> bool:
        """Whether the networks of these kinds are there."""
        return all(self._has(self._source(kind)) for kind in kinds)

    def at_steps(self, pictures: Sequence[ControlPicture], steps: int) -> list[tuple[Control, ...]]:
        """The controls of each of so many steps; the maps are of the picture's size, and the networks there."""
        if not pictures:
            return []
        hints = upload_pictures([picture.map for picture in pictures], self._model.device)
        hints = hints.permute(0, 3, 1, 2).float().div_(255)
        controls = [
            Control(
                network_id(self._source(unit.kind)), hint, unit.weight, unit.mode != "balanced", unit.mode != "control"
            )
            for (unit, _), hint in zip(pictures, hints, strict=True)
        ]
        return [
            tuple(
                control
                for (unit, _), control in zip(pictures, controls, strict=True)
                if unit.acts_at(step, steps)
            )
            for step in range(steps)
        ]  # fmt: skip

    def _has(self, source: Source) -> bool:
        return network_id(source) in self._model.control_networks

    def _source(self, kind: str) -> Source:
        check_kinds((kind,), self._model.info.control_kinds, self._model.spec.title)
        source = load_controls().get(kind).source(self._model.control_family)
        assert source is not None
        return source

    def _ask_for(self, source: Source, wake: Callable[[], None]) -> None:
        """The lock is held."""
        name = network_id(source)
        error, told = self._failed.get(name, (None, 0.0))
        if error is not None and time.monotonic() - told < TOLD_FOR:
            raise error.with_traceback(None)
        self._failed.pop(name, None)
        if name in self._waiting:
            self._waiting[name][wake] = None
            return
        self._waiting[name] = {wake: None}
        threading.Thread(target=self._load, args=(source,), name=f"load {name}", daemon=True).start()

    def _keep(self, name: str, network: Any) -> None:
        with self._lock:
            kept = {**self._model.control_networks, name: network}
            for last in sorted(kept, key=lambda one: self._asked.get(one, 0.0))[: max(len(kept) - MOST_KEPT, 0)]:
                if last != name:
                    del kept[last]
            self._model.control_networks = kept  # a new one, since others read it meanwhile

    def _load(self, source: Source) -> None:
        from artflow.models.control import load_network
        from artflow.models.families.unet import UNetModel

        model = self._model
        assert isinstance(model, UNetModel)  # others are of no family that has networks
        name = network_id(source)
        try:
            with stream(model.device):  # beside live people, as models are loaded
                network = with_threads(1, lambda: load_network(source, model))
            self._keep(name, network)
        except Exception as error:
            if not isinstance(error, ArtflowError):
                log.exception("a network could not be loaded")
                sentence = f"{name} could not be loaded: {inner_error(error).message}"
                error = ArtflowError("model_load_failed", sentence)
            with self._lock:
                self._failed[name] = error, time.monotonic()
        with self._lock:
            waiting = self._waiting.pop(name)
        for wake in waiting:
            wake()
