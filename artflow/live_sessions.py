"""Live sessions: opened on the model that their mode starts with, and moved to those that their settings ask for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any
from weakref import WeakSet

from artflow.engine.client import EngineClient
from artflow.engine.params import LiveParams
from artflow.engine.second_pass import Part
from artflow.engine.stream import LiveStream
from artflow.engine.stream_policy import OnBegun, Result, ignore_begun
from artflow.errors import ArtflowError
from artflow.models.catalog import Catalog, ModelSpec
from artflow.models.info import ModelHandle, ModelInfo
from artflow.modes import routing
from artflow.parameters import Parameters
from artflow.prompts.loras import asked, split, with_tags
from artflow.settings import Settings

log = logging.getLogger(__name__)

OnMoved = Callable[[ArtflowError | None, bool], None]
"""Hears that a session is served by other models or at another size than before, or why it is not, and whether that
comes after the change that asked for it, because a model was loaded; from any thread, and must not block."""


NO_EXTRAS: dict[str, Any] = {"loras": {}, "control": ()}  # which painters cannot have


def ignore_move(error: ArtflowError | None, late: bool) -> None:
    """For who does not want to know."""


class LiveSessions:
    """Opens and changes live sessions. Safe from any thread; ``client`` starts the engine when it is first called."""

    def __init__(
        self,
        settings: Settings,
        spec: ModelSpec,
        catalog: Catalog,
        parameters: Parameters,
        client: Callable[[], EngineClient],
    ) -> None:
        self._settings, self._spec, self._catalog = settings, spec, catalog
        self._parameters, self._client = parameters, client
        self._streams: WeakSet[LiveStream] = WeakSet()
        self._lock = threading.Lock()

    def load_for(self, mode: str) -> list[ModelHandle]:
        """Begin to load the model that a live mode starts with, and those at hand that words may choose instead, so
        that the first frame is already made as it is asked for; or find them loaded. Never blocks."""
        return [self._client().load(spec) for spec in routing.at_hand(mode, self._spec, self._catalog)]

    def open(
        self,
        mode: str,
        model: ModelInfo,
        changes: Mapping[str, Any],
        on_result: Callable[[Result], None],
        on_begun: OnBegun = ignore_begun,
    ) -> LiveStream:
        """A live session on a loaded model; it is served until its ``close``.

        Raises:
            ArtflowError: ``bad_parameter``, ``bad_size``, ``too_many_sessions``, ``unsuitable_lora``.
        """
        limits = self._settings.server
        if 0 < limits.max_queue_size <= self.count:
            raise ArtflowError(
                "too_many_sessions", f"All {limits.max_queue_size} places are taken; try again in a moment."
            )
        params = self._parameters.changed(self._parameters.live(mode, self._known(model.id)), changes)
        self._parameters.check_fit(asked(params.prompt, params.loras), model)
        policy = self._parameters.modes[mode].policy
        session = self._client().open(model, params, policy, on_result, on_begun, max_size=limits.max_size)
        with self._lock:
            self._streams.add(session)
        log.info("a live session", extra={"session": session.id, "mode": mode, "model": model.id})
        return session

    def change(
        self, mode: str, session: LiveStream, changes: Mapping[str, Any], on_moved: OnMoved = ignore_move
    ) -> None:
        """Change settings of a live session. Where another model is to serve it from now on, it is loaded meanwhile,
        and the session goes on as it was until it is there; ``on_moved`` hears of that, or why it cannot be.

        Raises:
            ArtflowError: ``bad_parameter``, ``prompt_too_long``, ``bad_size`` ...; ``unknown_model``, or why that
                cannot be loaded. The old settings stay.
        """
        with session.changing:
            params = self._parameters.changed(session.params, changes)
            if params != session.params:
                self._apply(mode, session, params, changes, on_moved)

    def _apply(
        self, mode: str, session: LiveStream, params: LiveParams, changes: Mapping[str, Any], on_moved: OnMoved
    ) -> None:
        way = routing.route(mode, params, self._spec, self._catalog)
        with ExitStack() as held:  # of two models that are wanted together neither makes room for the other
            wanted = [spec for spec in (way.spec, way.over) if spec is not None]
            handles = [held.enter_context(self._client().lease(spec)) for spec in wanted]
            if (coming := next((handle for handle in handles if not handle.info.done()), None)) is not None:
                session.wait_for(params, coming)
                leases = held.pop_all()
                then = partial(self._loaded, mode, session, session.params, changes, on_moved, leases)
                coming.info.add_done_callback(then)
                return
            first, *over = [handle.info.result() for handle in handles]
            self._check_loras(session, params, first)
            now = self._known(session.model.id)
            if way.spec.id != now.id:
                unasked = self._parameters.moved(mode, params, now, way.spec)
                params = self._parameters.changed(unasked, changes)
            drawn: dict[str, Any] = {"prompt": with_tags(way.prompt, params.prompt)}
            if way.spec.native_resolution_only and not params.model:  # the size was asked for before words chose it
                drawn |= {"width": 0, "height": 0}
            parts = [Part(first, params.model_copy(update=drawn))]
            if over:  # what is drawn is painted whole
                painted = {"strength": 1.0, "steps": 1, "max_fps": 0, "prompt": split(params.prompt)[0]} | NO_EXTRAS
                parts.append(Part(over[0], params.model_copy(update=painted)))
            before = session.served_by, session.sized.width, session.sized.height
            session.update(params, parts)
        if (session.served_by, session.sized.width, session.sized.height) != before:
            on_moved(None, False)

    def _check_loras(self, session: LiveStream, params: LiveParams, model: ModelInfo) -> None:
        """Refuse LoRAs that are for another model; those that the session has on this one are known to fit."""
        applied = session.applied
        known = asked(applied.prompt, applied.loras) if model.id == session.model.id else ()
        names = {use.name for use in known}
        new = [use for use in asked(params.prompt, params.loras) if use.name not in names]
        self._parameters.check_fit(new, model)

    def _loaded(
        self, mode: str, session: LiveStream, asked_for: LiveParams, changes: Mapping[str, Any], on_moved: OnMoved,
        leases: ExitStack, done: Future[ModelInfo],
    ) -> None:  # fmt: skip
        """A model is there that a session waits for, or cannot be had; the session may want something else by now."""
        with leases, session.changing:
            if session.closed or session.params != asked_for:
                return
            try:
                done.result()
                self._apply(mode, session, asked_for, changes, lambda error, _: on_moved(error, True))
            except ArtflowError as error:
                on_moved(error, True)
                # Only what asked for the model is taken back; the rest of what has been changed meanwhile stays.
                applied = session.applied
                words = ("prompt", "style_picture", "loras", "control")
                names = ("model",) if asked_for.model != applied.model else words
                session.wait_for(applied, None)
                rest = asked_for.model_copy(update={name: getattr(applied, name) for name in names})
                if rest != applied:
                    self._apply(mode, session, rest, {}, lambda error, _: on_moved(error, True))

    def _known(self, model_id: str) -> ModelSpec:
        """What is known of a model that serves somebody; of one from elsewhere what is known of the app's own."""
        return next((spec for spec in self._catalog.models if spec.id == model_id), self._spec)

    @property
    def count(self) -> int:
        """How many are being served."""
        with self._lock:
            return sum(not session.closed for session in self._streams)
