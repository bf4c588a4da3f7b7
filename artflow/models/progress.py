"""How far a load is: one number from 0 to 1 over download, reading and moving, which never goes back."""

from __future__ import annotations

import threading
from collections.abc import Callable


def quiet(message: str, fraction: float | None) -> None:
    """The listener that nobody asked for."""


class Underway:
    """Something that is being loaded, as people see it: what happens now, and how far it is (0 to 1, or None)."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.fraction: float | None = None

    def say(self, message: str, fraction: float | None) -> None:
        """Note the progress; read by whoever waits."""
        self.message, self.fraction = message, fraction


class Progress:
    """Reports to ``listener(message, fraction)``. Safe to call from several threads at once."""

    def __init__(self, listener: Callable[[str, float | None], None]) -> None:
        self._listener = listener
        self._reached = 0.0
        self._lock = threading.Lock()

    def say(self, message: str, fraction: float | None = None) -> None:
        """Report ``message`` at ``fraction``. Not less than before; ``None`` where it is not known."""
        with self._lock:
            if fraction is not None:
                fraction = self._reached = max(self._reached, min(1.0, fraction))
            self._listener(message, fraction)

    def part(self, start: float, end: float) -> Progress:
        """The progress of a step that takes this one from ``start`` to ``end``."""

        def scaled(message: str, fraction: float | None) -> None:
            self.say(message, None if fraction is None else start + fraction * (end - start))

        return Progress(scaled)
