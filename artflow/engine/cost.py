"""What a step costs: seconds, measured for each shape, estimated from the latent's area for those not yet seen."""

from __future__ import annotations

from collections.abc import Hashable
from math import prod
from typing import Any

UNKNOWN = 2e-5  # seconds a row and latent pixel, until anything has been measured: a small model on a CPU
KEPT = 256  # shapes and numbers of rows that are remembered


class CostModel:
    """The seconds of calls of one model, by what its rows have in common (`Plan.compat`) and how many there are."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[Hashable, int], float] = {}
        self._rates: dict[int, float] = {}  # seconds a row and latent pixel, by area

    def observe(self, compat: Any, rows: int, seconds: float) -> None:
        """Note that a call of so many rows took so long."""
        key, area = (compat, rows), _area(compat)
        before = self._seconds.get(key, seconds)
        # What other programs held up says little of the next call, so a slower one counts less than a quicker one.
        self._seconds[key] = before + (seconds - before) * (0.5 if seconds < before else 0.1)
        self._rates[area] = min(self._seconds[key] / (rows * area), self._rates.get(area, float("inf")))
        if len(self._seconds) > KEPT:
            self._seconds.pop(next(iter(self._seconds)))
        if len(self._rates) > KEPT:
            self._rates.pop(next(iter(self._rates)))

    def seconds(self, compat: Any, rows: int) -> float:
        """How long a call of so many rows will take."""
        if (known := self._seconds.get((compat, rows))) is not None:
            return known
        area = _area(compat)
        nearest = min(self._rates, key=lambda other: abs(other - area), default=None)
        rate = UNKNOWN if nearest is None else self._rates[nearest]
        return rate * rows * area


def _area(compat: Any) -> int:
    return prod(compat[0][1:])
