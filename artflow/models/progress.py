"""Progress of loading a model: one fraction from 0 to 1 over download, reading and moving, never decreasing."""

from __future__ import annotations

import threading
from collections.abc import Callable


def no_progress(message: str, fraction: float | None) -> None:
    """The default listener: ignores every report."""


class LoadProgress:
    """The state of a load for display: a message, and a fraction from 0 to 1 (None: not known)."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.fraction: float | None = None

    def say(self, message: str, fraction: float | None) -> None:
        """Set both; the thread that waits reads them."""
        self.message, self.fraction = message, fraction


class ProgressReporter:
    """Reports to ``listener(message, fraction)``. Safe to call from several threads at once."""

    def __init__(self, listener: Callable[[str, float | None], None]) -> None:
        self._listener = listener
        self._reached = 0.0
        self._lock = threading.Lock()

    def say(self, message: str, fraction: float | None = None) -> None:
        """Report ``message`` and ``fraction`` (0 to 1; None: not known), which is never below an earlier one."""
        with self._lock:
            if fraction is not None:
                fraction = self._reached = max(self._reached, min(1.0, fraction))
            self._listener(message, fraction)

    def part(self, start: float, end: float) -> ProgressReporter:
        """A reporter for one step, whose 0 to 1 is ``start`` to ``end`` of this one."""

        def scaled(message: str, fraction: float | None) -> None:
            self.say(message, None if fraction is None else start + fraction * (end - start))

        return ProgressReporter(scaled)
