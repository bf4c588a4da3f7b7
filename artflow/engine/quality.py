"""What a session gives up under load, in stated stages, and how it comes back."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median

SMALLEST_SIDE = 256  # below it, or below the model's own size where that is smaller, pictures are no longer worth it


@dataclass(frozen=True)
class Stage:
    """One stage: the share of the steps and of the side lengths that is kept."""

    steps: float
    side: float

    def name(self, fewer: bool = True, smaller: bool = True) -> str:
        """The words people see, where there are steps and size to give up; one step or the least size stay."""
        parts = [STEPS[self.steps]] * fewer + [SIDES[self.side]] * smaller
        return ", ".join(part for part in parts if part) or "full"


STEPS = {1.0: "", 0.5: "half the steps"}
SIDES = {1.0: "", 0.75: "3/4 size", 0.5: "half size"}
STAGES = (Stage(1.0, 1.0), Stage(0.5, 1.0), Stage(0.5, 0.75), Stage(0.5, 0.5))


class QualityController:
    """Moves one latency session along `STAGES` by what its own frames cost.

    Down a stage when the median of the last ``window`` is over ``target`` seconds; up when it is under a third of it
    for ``patience`` windows in a row, which leaves room for what the next stage costs.
    """

    def __init__(self, target: float = 0.4, window: int = 8, patience: int = 3) -> None:
        self._target, self._patience = target, patience
        self._latencies: deque[float] = deque(maxlen=window)
        self._level = self._calm = 0

    @property
    def stage(self) -> Stage:
        """Where the session is now."""
        return STAGES[self._level]

    def observe(self, latency: float) -> None:
        """Note the seconds that a frame took from arrival to delivery, without its waits for frames after it."""
        self._latencies.append(latency)
        if len(self._latencies) < (self._latencies.maxlen or 0):
            return
        middle = median(self._latencies)
        self._latencies.clear()
        self._calm = self._calm + 1 if middle < self._target / 3 else 0
        if middle > self._target:
            self._level = min(self._level + 1, len(STAGES) - 1)
        elif self._calm >= self._patience:
            self._level, self._calm = max(self._level - 1, 0), 0

    def reset(self) -> None:
        """Back to full, as a quality session always is."""
        self._level = self._calm = 0
        self._latencies.clear()
