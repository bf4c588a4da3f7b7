"""From a person's settings to the plan of the next frame, and the recipe that says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from artflow.engine.conditioning import Tensors, blend, slerp
from artflow.engine.params import FLOW_FIELDS, LiveParams
from artflow.engine.quality import SMALLEST_SIDE, STAGES, Stage
from artflow.engine.runner import Runner
from artflow.engine.stream_step import StreamPlan
from artflow.errors import ArtflowError
from artflow.images import Size
from artflow.models.extras import Extras
from artflow.models.model import Condition
from artflow.prompts.loras import asked, at, listed, split


class Planner:
    """Makes a session's plan anew only where settings or stage have changed, or a crossfade goes on."""

    def __init__(self, runner: Runner, mode: str) -> None:
        self.plan: StreamPlan | None = None
        self.recipe: dict[str, Any] = {}
        self.stage = STAGES[0].name()  # what the plan gives up under load
        self._runner = runner
        self._mode = mode
        self._planned_for: tuple[LiveParams, Stage, Size] | None = None
        self._target: Tensors = {}  # what is asked for, prepared
        self._wording: tuple[str, str, float, str] | None = None  # what the target was made of
        self._shown: Tensors = {}  # what the last plan was made with: the target, or on the way there
        self._fading: tuple[Tensors, float] | None = None  # what a prompt change fades from, and since when

    @property
    def fading(self) -> bool:
        """Whether a crossfade goes on: equal frames then still give different pictures."""
        return self._fading is not None

    def prepare(
        self, params: LiveParams, stage: Stage, size: Size, now: float, wake: Callable[[], None]
    ) -> StreamPlan | None:
        """The plan for a frame of this size that begins ``now`` (monotonic seconds); ``recipe`` is its recipe.

        None while prompts are being encoded; ``wake`` is called when they are.
        """
        if (self.plan is None or self._planned_for != (params, stage, size)) and not self._replan(
            params, stage, size, now, wake
        ):
            return None
        assert self.plan is not None
        if self._fading is not None:
            start, since = self._fading
            amount = min((now - since) / params.transition, 1.0) if params.transition > 0 else 1.0
            if amount == 1:
                self._fading = None
            self._shown = self._target if amount == 1 else blend(start, self._target, amount)
            inputs = self._runner.inputs(self._shown, self.plan.size, params.guidance_scale)
            before, self.plan = self.plan, replace(self.plan, positive=[inputs] * len(self.plan.schedule))
            self._runner.model.hold(self.plan, (name for one in before.extras for name, _ in one.loras))
            self.recipe = {name: fact for name, fact in self.recipe.items() if name != "crossfade"}
            if amount < 1:
                self.recipe["crossfade"] = round(amount, 3)
        return self.plan

    def _replan(self, params: LiveParams, stage: Stage, wanted: Size, now: float, wake: Callable[[], None]) -> bool:
        runner = self._runner
        blended = bool(params.prompt_b) and params.blend > 0
        text, uses = split(params.prompt)[0], asked(params.prompt, params.loras)
        style = (("style_picture", params.style_picture),) if params.style_picture else ()
        loras = (("loras", tuple((use.name, use.weight) for use in uses)),) if uses else ()
        conditions = [
            Condition(text, more=style + loras),
            Condition(params.negative_prompt, negative=True, more=loras),
            *([Condition(params.prompt_b, more=loras)] if blended else []),
        ]
        try:
            prepared = runner.conditions.get(conditions, wake)
        except ArtflowError as error:
            if error.code != "lora_memory" or self.plan is None or not self.plan.extras:
                raise
            self.plan = None  # it may be what holds the room: asked once more without it
            prepared = runner.conditions.get(conditions, wake)
        if prepared is None:
            return False
        steps = max(1, round(params.steps * stage.steps))
        indices = params.t_index_list and params.t_index_list[:: round(1 / stage.steps)]
        schedule = runner.schedules.make(steps, params.strength, indices)
        size = self._staged(wanted, stage)
        fewer = len(indices) < len(params.t_index_list) if indices and params.t_index_list else steps < params.steps
        self.stage = stage.name(fewer=fewer, smaller=size != wanted)
        target = blend(prepared[0], prepared[2], params.blend) if blended else prepared[0]
        wording = (text, params.prompt_b, params.blend, params.style_picture)
        if wording != self._wording:
            self._fading = (self._shown, now) if self.plan is not None and params.transition > 0 else None
        positive = runner.inputs(target, size, params.guidance_scale)
        negative = runner.inputs(prepared[1], size, params.guidance_scale)
        self.plan = StreamPlan(
            schedule=schedule,
            noise=self._noise(params, len(schedule), runner.model.latent_shape(size)),
            positive=[positive] * len(schedule),
            negative=[negative] * len(schedule),
            size=size,
            prediction_type=runner.model.prediction_type_for(params.prediction_type),
            cfg_type="none" if runner.model.single_row else params.cfg_type,
            guidance=params.guidance_scale,
            delta=params.delta,
            extras=[Extras(loras=at(uses, i / len(schedule))) for i in range(len(schedule))] if uses else (),
        )
        runner.model.hold(self.plan, (use.name for use in uses))
        self._planned_for, self._target, self._wording = (params, stage, wanted), target, wording
        self._shown = target
        self.recipe = {"mode": self._mode} | _recipe(params, self.plan, runner, self.stage)
        return True

    def _staged(self, size: Size, stage: Stage) -> Size:
        spec = self._runner.model.spec
        floor = min(SMALLEST_SIDE, spec.width, spec.height)
        smaller = size.scaled(stage.side, self._runner.model.vae_scale)
        return smaller if min(smaller) >= floor else size

    def _noise(self, params: LiveParams, steps: int, shape: tuple[int, int, int]) -> torch.Tensor:
        """Seeded on the CPU, so that a seed means the same on every device: (steps, channels, height, width)."""
        if not self._runner.schedules.noisy:
            return torch.zeros((), device=self._runner.model.device).expand(steps, *shape)

        def draw(seed: int) -> torch.Tensor:
            return torch.randn((steps, *shape), generator=torch.Generator().manual_seed(seed))

        noise = draw(params.seed)
        if params.seed_b is not None and params.blend > 0:
            noise = slerp(noise, draw(params.seed_b), params.blend)
        return noise.to(self._runner.model.device)


def _recipe(params: LiveParams, plan: StreamPlan, runner: Runner, stage: str) -> dict[str, Any]:
    """What makes the picture again from the same frame; of a crossfade's middle, and of guidance over single steps
    (which goes on from the frames before), something like it."""
    text, uses = split(params.prompt)[0], asked(params.prompt, params.loras)
    made_of = params.model_dump(exclude={*FLOW_FIELDS, "loras", "control"}, exclude_none=True) | {"prompt": text}
    made_of |= {"loras": listed(uses)} if uses else {}
    facts = {
        "model": runner.model.id,
        "width": plan.size.width,
        "height": plan.size.height,
        "steps": len(plan.schedule),
        "timesteps": list(plan.schedule.timesteps),
        "stage": stage,
    }
    return made_of | facts | runner.reading(text)
