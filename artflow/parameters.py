"""What live sessions and jobs start with, and how changes of it are checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from artflow.engine.image_spec import check_sampler
from artflow.engine.params import LiveParams
from artflow.engine.timesteps import check_indices
from artflow.errors import ArtflowError
from artflow.images import check_size
from artflow.log import about_prompt
from artflow.models import lora_files
from artflow.models.catalog import Catalog, ModelSpec
from artflow.models.control_catalog import load_controls
from artflow.models.info import ModelInfo
from artflow.modes import routing, text
from artflow.modes.canvas import CANVAS
from artflow.modes.filters.live import check_live
from artflow.modes.live import LiveMode
from artflow.modes.live_inpaint import LIVE_INPAINT, preprocess
from artflow.modes.realtime import REALTIME
from artflow.modes.schema import merged
from artflow.modes.text import JobParams, TextParams
from artflow.modes.upscale import check_upscaler
from artflow.prompts.loras import LoraUse, asked, check_tags
from artflow.settings import Settings

log = logging.getLogger(__name__)
P = TypeVar("P", bound=JobParams)


class Parameters:
    """Defaults out of the modes, the model and the operator's settings, in this order. Safe from any thread."""

    def __init__(self, settings: Settings, spec: ModelSpec, catalog: Catalog) -> None:
        self._settings, self._spec, self._catalog = settings, spec, catalog

    @property
    def modes(self) -> dict[str, LiveMode]:
        """The live modes by name."""
        limits = self._settings.server
        canvas = CANVAS.policy
        if self._settings.canvas.coalesce:
            canvas = replace(canvas, latest_only=True)
        canvas = replace(canvas, max_waiting=limits.max_waiting)
        inpaint = replace(LIVE_INPAINT.policy, preprocess=partial(preprocess, longest=limits.max_size))
        changed = (replace(CANVAS, policy=canvas), replace(LIVE_INPAINT, policy=inpaint))
        return {mode.name: mode for mode in (REALTIME, *changed)}

    def live(self, mode: str, spec: ModelSpec | None = None) -> LiveParams:
        """What a session of this mode starts with, on the model that it starts with or another."""
        spec = routing.start(mode, self._spec, self._catalog) if spec is None else spec
        return self.modes[mode].params(spec, getattr(self._settings, mode))

    def moved(self, mode: str, params: LiveParams, before: ModelSpec, after: ModelSpec) -> LiveParams:
        """A session's parameters on another model: what stands at the default of the one goes to that of the other."""
        old, new = self.live(mode, before), self.live(mode, after)
        changes = {
            name: getattr(new, name)
            for name in type(params).model_fields
            if name != "prompt" and getattr(params, name) == getattr(old, name)
        }
        return params.model_copy(update=changes)

    def text(self) -> TextParams:
        """What the text tab starts with."""
        return text.defaults(self._spec, self._settings.text.generation)

    def job(self, kind: type[P], changes: Mapping[str, Any] | None = None) -> P:
        """A job's parameters: the text tab's defaults where the kind has them, then the changes.

        Raises:
            ArtflowError: ``bad_parameter`` or ``prompt_too_long``.
        """
        defaults = {k: v for k, v in self.text().model_dump().items() if k in kind.model_fields}
        return merged(kind, defaults, changes or {}, max_prompt=self._settings.server.max_prompt)

    def changed(self, params: LiveParams, changes: Mapping[str, Any]) -> LiveParams:
        """A session's parameters with some of them changed.

        Raises:
            ArtflowError: ``bad_parameter``, ``prompt_too_long``, ``bad_stack``, ``bad_filter``, ``bad_lora``,
                ``unknown_lora``, ``unknown_control``; nothing changes then.
        """
        server, logging_ = self._settings.server, self._settings.logging
        new = merged(type(params), params.model_dump(), changes, max_prompt=server.max_prompt)
        for unit in new.control:
            load_controls().get(unit.kind)
        if new.filters != params.filters:
            check_live(new.filters, server.max_size)
        if (new.prompt, new.loras) != (params.prompt, params.loras):
            known = {use.name for use in asked(params.prompt, params.loras)}
            self._check_loras(use for use in asked(new.prompt, new.loras) if use.name not in known)
        for name in ("negative_prompt", "prompt_b"):
            check_tags(getattr(new, name), name)
        if new.prompt != params.prompt and logging_.prompts:
            log.info("a new prompt", extra=about_prompt(new.prompt, logging_))
        return new

    def check_text(self, params: TextParams) -> None:
        """Refuse what can be refused before a model is loaded for it.

        Raises:
            ArtflowError: as `check_job` raises; ``unknown_upscaler``.
        """
        self.check_job(params)
        if params.hires_scale > 1:
            check_upscaler(params.hires_upscaler)

    def check_job(self, params: JobParams) -> None:
        """The same of any job that draws.

        Raises:
            ArtflowError: ``unknown_sampler``, ``unknown_model``, ``unknown_lora``, ``bad_lora``, ``unknown_control``.
        """
        check_sampler(params.sampler)
        self._check_loras(params.lora_uses)
        check_tags(params.negative_prompt, "negative_prompt")
        for unit in params.control:
            load_controls().get(unit.kind)
        spec = self._spec if params.model in ("", self._spec.id) else self._catalog.get(params.model)
        if not spec.draws:
            able = ", ".join(model.id for model in self._catalog.models if model.draws)
            sentence = f"{spec.title} paints over live pictures and draws none by itself; choose one of {able}."
            raise ArtflowError("unsuitable_model", sentence)

    def check_fit(self, loras: Iterable[LoraUse], model: ModelInfo) -> None:
        """Refuse LoRAs for another kind of model.

        Raises:
            ArtflowError: ``unsuitable_lora``, ``bad_lora``, ``unknown_lora``.
        """
        title = next((spec.title for spec in (self._spec, *self._catalog.models) if spec.id == model.id), model.id)
        for use in loras:
            path = lora_files.find(use.name, self._settings.models.lora_dir)
            lora_files.check_family(use.name, lora_files.shapes(path), title, model.text_width)

    def _check_loras(self, loras: Iterable[LoraUse]) -> None:
        for use in loras:
            lora_files.find(use.name, self._settings.models.lora_dir)

    def check(self) -> None:
        """Refuse settings that every session or picture would be refused for.

        Raises:
            ArtflowError: ``bad_settings``.
        """
        longest = self._settings.server.max_size
        at = "text"
        try:
            text = self.text()
            self.check_text(text)
            check_upscaler(text.hires_upscaler)
            check_size(text.width, text.height, multiple=8, longest=longest)
            for at in self.modes:
                live = self.live(at)
                spec = routing.start(at, self._spec, self._catalog)
                check_size(live.width or spec.width, live.height or spec.height, multiple=8, longest=longest)
                check_live(live.filters, longest)
                check_indices(live.t_index_list or (0,))
        except ArtflowError as error:
            raise ArtflowError("bad_settings", f"The defaults of `{at}` cannot be used: {error.message}") from None
